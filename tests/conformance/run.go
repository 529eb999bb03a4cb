package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/translate"
	"go.yaml.in/yaml/v3"
)

// An answer is what a client got, and what it makes of it.
type answer struct {
	status int
	header http.Header
	text   string
	value  any // of a JSON or YAML body
	body   any // what $body stands for
	head   bool
}

// at evaluates a path of a test.
func (a *answer) at(path string, fill func(string) string) any {
	if path == "" && a.head {
		return a.status < 300
	}
	if path == "$body" {
		return a.body
	}
	return at(a.value, strings.TrimPrefix(path, "$body."), fill)
}

// A call is a request of a test with its answer, and what became of both
// behind the gateway.
type call struct {
	line           int
	part           string // setup, test or teardown
	method, target string
	body           string
	status         int
	answer         string
	sent           []exchange
	fired          []translate.Fired
}

// A failure says which step of a test went wrong, and how.
type failure struct {
	line    int
	part    string
	step    string // as it is written in the test
	problem string
	calls   []*call // up to that step
}

// A session runs tests against one address.
type session struct {
	suite  *suite
	base   string
	client *http.Client
	sent   *recorder // nil at home

	stash map[string]any
	last  *answer
	calls []*call
}

// run runs a test and returns how it failed, nil if it passed.
func (s *session) run(ctx context.Context, t *test) *failure {
	s.stash, s.last, s.calls = map[string]any{}, nil, nil
	f := s.steps(ctx, "setup", t.setup)
	if f == nil {
		f = s.steps(ctx, "test", t.steps)
	}
	calls := s.calls
	if td := s.steps(ctx, "teardown", t.teardown); f == nil {
		f, calls = td, s.calls
	}
	if f != nil {
		f.calls = calls
	}
	return f
}

func (s *session) steps(ctx context.Context, part string, steps []step) *failure {
	for _, st := range steps {
		if problem := s.step(ctx, part, st); problem != "" {
			return &failure{line: st.line, part: part, step: st.kind + " " + toJSON(st.arg), problem: problem}
		}
	}
	return nil
}

// step returns what is wrong, or nothing.
func (s *session) step(ctx context.Context, part string, st step) string {
	switch st.kind {
	case "do":
		o, ok := st.arg.(*object)
		if !ok {
			return "not a call"
		}
		return s.do(ctx, part, st.line, o)
	case "set":
		o, ok := st.arg.(*object)
		if !ok || s.last == nil {
			return "nothing to set"
		}
		for _, path := range o.keys {
			v := s.last.at(path, s.fillText)
			if v == nil {
				return fmt.Sprintf("the answer has no %s", path)
			}
			s.stash[javaText(o.values[path])] = v
		}
		return ""
	}
	return s.check(st)
}

func (s *session) check(st step) string {
	if s.last == nil {
		return "there is no answer to look at"
	}
	check := checks[st.kind]
	o, ok := st.arg.(*object)
	if !ok { // is_true: path
		path := ""
		if st.arg != nil {
			path = javaText(st.arg)
		}
		o = newObject()
		o.set(path, nil)
	}
	for _, path := range o.keys {
		if problem := check(s.last.at(path, s.fillText), s.fill(o.values[path])); problem != "" {
			return strings.TrimSpace(path + ": " + problem)
		}
	}
	return ""
}

var stashed = regexp.MustCompile(`\$\{(\w+)\}`)

// fill puts variables into a value: $name as a whole string, ${name} inside one.
func (s *session) fill(v any) any {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "$") {
			if value, ok := s.stash[v[1:]]; ok {
				return value
			}
			if v == "$body" && s.last != nil {
				return s.last.body
			}
		}
		return stashed.ReplaceAllStringFunc(v, func(name string) string {
			if value, ok := s.stash[name[2:len(name)-1]]; ok {
				return javaText(value)
			}
			return name
		})
	case *object:
		o := newObject()
		for _, k := range v.keys {
			o.set(s.fillText(k), s.fill(v.values[k]))
		}
		return o
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = s.fill(e)
		}
		return list
	}
	return v
}

func (s *session) fillText(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	return javaText(s.fill(text))
}

// A request is what a do step asks for.
type request struct {
	api     string
	params  []param
	body    any
	hasBody bool
	headers http.Header
	catch   string
	ignore  []string

	warnings, allowed []string
}

func (s *session) parse(o *object) (*request, error) {
	r := &request{headers: http.Header{}}
	for _, key := range o.keys {
		v := o.values[key]
		switch key {
		case "catch":
			r.catch = javaText(v)
		case "headers":
			if h, ok := v.(*object); ok {
				for _, k := range h.keys {
					r.headers.Set(k, javaText(s.fill(h.values[k])))
				}
			}
		case "warnings":
			r.warnings = texts(v)
		case "allowed_warnings":
			r.allowed = texts(v)
		case "node_selector": // there is one node
		default:
			if r.api != "" {
				return nil, fmt.Errorf("two calls in one step: %s and %s", r.api, key)
			}
			r.api = key
			args, ok := v.(*object)
			if !ok {
				args = newObject()
			}
			for _, name := range args.keys {
				value := s.fill(args.values[name])
				switch {
				case name == "body":
					r.body, r.hasBody = value, value != nil
				case name == "ignore":
					r.ignore = texts(value)
				default:
					r.params = append(r.params, param{name, strings.Join(texts(value), ",")})
				}
			}
		}
	}
	if r.api == "" {
		return nil, errors.New("no call in the step")
	}
	return r, nil
}

// texts are the elements of a list, or the one value.
func texts(v any) []string {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			return []string{""}
		}
		return []string{javaText(v)}
	}
	var all []string
	for _, e := range list {
		all = append(all, javaText(e))
	}
	return all
}

// do makes a call and returns what is wrong with its answer, or nothing.
func (s *session) do(ctx context.Context, part string, line int, o *object) string {
	r, err := s.parse(o)
	if err != nil {
		return err.Error()
	}
	if r.catch == "param" {
		return "" // a client would not even send it
	}
	a := s.suite.apis[r.api]
	if a == nil {
		return "no such API in the specification: " + r.api
	}
	method, target, err := a.build(r.params, r.hasBody)
	if err != nil {
		return err.Error()
	}
	c := &call{line: line, part: part, method: method, target: target, body: bodyText(r.body, a.lines)}
	s.calls = append(s.calls, c)
	if s.sent != nil {
		s.sent.reset()
	}
	s.last, err = s.send(ctx, r, a, c)
	if s.sent != nil {
		c.sent, c.fired = s.sent.take()
	}
	if err != nil {
		return err.Error()
	}
	c.status, c.answer = s.last.status, s.last.text
	if problem := judgeStatus(r, s.last, method); problem != "" {
		return problem
	}
	if r.catch != "" {
		return "" // warnings are looked at only when nothing went wrong
	}
	return judgeWarnings(r, s.last.header)
}

func bodyText(body any, lines bool) string {
	list, isList := body.([]any)
	if text, ok := body.(string); ok {
		if lines && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text
	}
	if body == nil {
		return ""
	}
	if !lines {
		return toJSON(body)
	}
	if !isList {
		list = []any{body}
	}
	var b strings.Builder
	for _, line := range list {
		if text, ok := line.(string); ok {
			b.WriteString(strings.TrimRight(text, "\n"))
		} else {
			writeJSON(&b, line)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// vendored is the media type of 8.x clients.
const vendored = "application/vnd.elasticsearch+%s; compatible-with=8"

func (s *session) send(ctx context.Context, r *request, a *api, c *call) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, s.base+c.target, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	json, lines := "application/json", "application/x-ndjson"
	// One of both headers alone may not be vendored: a test that sets one gets
	// plain types.
	if s.suite.major >= 8 && r.headers.Get("Accept") == "" && r.headers.Get("Content-Type") == "" {
		json, lines = fmt.Sprintf(vendored, "json"), fmt.Sprintf(vendored, "x-ndjson")
		req.Header.Set("Accept", json)
		if strings.HasPrefix(r.api, "cat.") {
			req.Header.Set("Accept", "text/plain,application/json")
		}
	}
	if c.body != "" {
		req.Header.Set("Content-Type", json)
		if a.lines {
			req.Header.Set("Content-Type", lines)
		}
	}
	maps.Copy(req.Header, r.headers)
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return understand(res, text, c.method == "HEAD"), nil
}

func understand(res *http.Response, text []byte, head bool) *answer {
	a := &answer{status: res.StatusCode, header: res.Header, text: string(text), head: head}
	if head {
		return a
	}
	a.body = a.text
	switch kind := res.Header.Get("Content-Type"); {
	case strings.Contains(kind, "json"):
		if v, err := parseJSON(bytes.TrimSpace(text)); err == nil {
			a.value, a.body = v, v
		}
	case strings.Contains(kind, "yaml"):
		var n yaml.Node
		if yaml.Unmarshal(text, &n) == nil && len(n.Content) > 0 {
			a.value, _ = fromYAML(&n)
		}
	}
	return a
}

// caught are the statuses that the words of catch stand for.
var caught = map[string]int{
	"bad_request": 400, "unauthorized": 401, "forbidden": 403, "missing": 404, "request_timeout": 408,
	"conflict": 409, "unavailable": 503,
}

func judgeStatus(r *request, a *answer, method string) string {
	failed := a.status >= 400 && !slices.Contains(r.ignore, fmt.Sprint(a.status)) && !(method == "HEAD" && a.status == 404)
	switch {
	case r.catch == "" && failed:
		return fmt.Sprintf("want success, got status %d", a.status)
	case r.catch == "":
		return ""
	case a.status < 400:
		return fmt.Sprintf("want the error %s, got status %d", r.catch, a.status)
	}
	if status, ok := caught[r.catch]; ok {
		if a.status != status {
			return fmt.Sprintf("want status %d (%s), got %d", status, r.catch, a.status)
		}
		return ""
	}
	if r.catch == "request" {
		if slices.Contains([]int{401, 403, 404, 408, 409}, a.status) {
			return fmt.Sprintf("want an error of the request, got status %d", a.status)
		}
		return ""
	}
	if len(r.catch) < 3 || r.catch[0] != '/' || r.catch[len(r.catch)-1] != '/' {
		return "unknown catch " + r.catch
	}
	p, err := javaPattern(r.catch[1:len(r.catch)-1], false)
	if err != nil {
		return err.Error()
	}
	if o, ok := a.value.(*object); ok && o.values["error"] != nil {
		if text := javaText(o.values["error"]); !p.MatchString(text) {
			return fmt.Sprintf("want an error that matches %s, got %s", r.catch, text)
		}
		return ""
	}
	return "the answer has no error"
}

var warning = regexp.MustCompile(`^299 \S+ "((?:[^"\\]|\\.)*)"`)

// judgeWarnings wants the expected deprecation warnings and no others.
func judgeWarnings(r *request, h http.Header) string {
	missing := slices.Clone(r.warnings)
	var unexpected []string
	for _, line := range h.Values("Warning") {
		text := line
		if m := warning.FindStringSubmatch(line); m != nil {
			text = unescapeWarning(m[1])
		}
		if i := slices.Index(missing, text); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			continue
		}
		if slices.Contains(r.warnings, text) || slices.Contains(r.allowed, text) || ignoredWarning(text) {
			continue
		}
		unexpected = append(unexpected, text)
	}
	switch {
	case len(missing) > 0:
		return "missing warning: " + strings.Join(missing, " | ")
	case len(unexpected) > 0:
		return "unexpected warning: " + strings.Join(unexpected, " | ")
	}
	return ""
}

// ignoredWarning: those that Elasticsearch's own runner does not look at, as
// nearly all older tests would have to expect them.
func ignoredWarning(text string) bool {
	return strings.HasPrefix(text, "[types removal]") || strings.HasPrefix(text, "the default number of shards will change from [5] to [1]")
}

func unescapeWarning(s string) string {
	var v string
	if json.Unmarshal([]byte(`"`+s+`"`), &v) == nil {
		return v
	}
	return s
}
