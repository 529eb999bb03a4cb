package scenario

import (
	"embed"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/esperanto-es/esperanto/translate"
)

//go:embed steps/*.steps
var stepFiles embed.FS

// A step is one request of the scenario. In a file it is
//
//	--- name
//	METHOD target
//	> Header: value          (the value "-" leaves the header out)
//	body ...
//	< variable = path        (a value of the answer that later steps use as ${variable})
//
// A step whose request differs by more than a detail repeats it as "for 5 6:
// METHOD target" and so on; dialects that are not named leave the step out. A
// detail is written <56|for 5 and 6|for the others>. Lines beginning with # are
// comments, blank lines in a body count only for APIs of lines.
type step struct {
	file string // subject
	name string // within the subject
	requests
}

// requests are the variants of a step by major.
type requests map[int]*request

type request struct {
	method, target string
	header         http.Header
	body           string
	captures       [][2]string // variable, path in the answer
}

func (s *step) String() string { return s.file + "/" + s.name }

// majors are those of Elasticsearch that the gateway speaks.
var majors = []int{5, 6, 7, 8}

// subject is what one file holds.
type subject struct {
	name  string
	seven string // the release that stands for major 7, "" for the usual one
	only  []int  // the majors that take part
	steps []*step

	types translate.TypesSetting // of the gateway
}

func readSubjects() ([]*subject, error) {
	files, err := stepFiles.ReadDir("steps")
	if err != nil {
		return nil, err
	}
	var all []*subject
	for _, f := range files {
		text, err := stepFiles.ReadFile("steps/" + f.Name())
		if err != nil {
			return nil, err
		}
		subjects, err := parseFile(strings.TrimSuffix(f.Name(), ".steps"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, subjects...)
	}
	return all, nil
}

var requestLine = regexp.MustCompile(`^(?:for ([5-8 ]+): )?(GET|HEAD|POST|PUT|DELETE) (\S+)$`)

var typesLine = regexp.MustCompile(`(?m)^types (.+)$`)

// parseFile reads a file. One with several settings of types is a subject for
// each, under the file's name and the setting's: "types" and "types-split".
func parseFile(name, text string) ([]*subject, error) {
	settings := []string{""}
	if m := typesLine.FindStringSubmatch(text); m != nil {
		settings = strings.Fields(m[1])
	}
	var all []*subject
	for i, setting := range settings {
		as := name
		if i > 0 {
			as += "-" + setting
		}
		s, err := parseSubject(as, text)
		if err != nil {
			return nil, err
		}
		s.types = translate.TypesSetting(setting)
		all = append(all, s)
	}
	return all, nil
}

func parseSubject(name, text string) (*subject, error) {
	s := &subject{name: name, only: majors}
	var current *step
	var open *request
	var to []int
	finish := func() {
		if open == nil {
			return
		}
		for _, m := range to {
			current.requests[m] = open.in(m)
		}
		open = nil
	}
	for i, line := range strings.Split(text, "\n") {
		wrong := func(what string) error { return fmt.Errorf("%s.steps:%d: %s: %q", name, i+1, what, line) }
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "seven "):
			s.seven = strings.TrimPrefix(line, "seven ")
		case typesLine.MatchString(line):
		case strings.HasPrefix(line, "only "):
			s.only = parseMajors(strings.TrimPrefix(line, "only "))
		case strings.HasPrefix(line, "--- "):
			finish()
			current = &step{file: name, name: strings.TrimPrefix(line, "--- "), requests: requests{}}
			if slices.ContainsFunc(s.steps, func(o *step) bool { return o.name == current.name }) {
				return nil, wrong("a second step of this name")
			}
			s.steps = append(s.steps, current)
		case requestLine.MatchString(line):
			if current == nil {
				return nil, wrong("a request without a step")
			}
			finish()
			m := requestLine.FindStringSubmatch(line)
			if to = s.only; m[1] != "" {
				to = parseMajors(m[1])
			}
			open = &request{method: m[2], target: m[3], header: http.Header{}}
		case open == nil:
			if strings.TrimSpace(line) != "" {
				return nil, wrong("a line without a request")
			}
		case strings.HasPrefix(line, "> "):
			k, v, ok := strings.Cut(line[2:], ": ")
			if !ok {
				return nil, wrong("not a header")
			}
			open.header.Set(k, v)
		case strings.HasPrefix(line, "< "):
			k, v, ok := strings.Cut(line[2:], " = ")
			if !ok {
				return nil, wrong("not a variable")
			}
			open.captures = append(open.captures, [2]string{k, v})
		default:
			open.body += line + "\n"
		}
	}
	finish()
	return s, nil
}

// isLines reports whether a target takes lines of JSON.
func isLines(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	return strings.HasSuffix(path, "_bulk") || strings.HasSuffix(path, "_msearch") || strings.HasSuffix(path, "_mpercolate") || strings.HasSuffix(path, "_msearch/template")
}

func parseMajors(s string) (all []int) {
	for _, f := range strings.Fields(s) {
		n, _ := strconv.Atoi(f)
		all = append(all, n)
	}
	return all
}

var detail = regexp.MustCompile(`<([5-8]+)\|([^|>]*)(?:\|([^|>]*))?>`)

// in writes the request in the idiom of one major.
func (r *request) in(major int) *request {
	choose := func(s string) string {
		return detail.ReplaceAllStringFunc(s, func(d string) string {
			m := detail.FindStringSubmatch(d)
			if strings.Contains(m[1], strconv.Itoa(major)) {
				return m[2]
			}
			return m[3]
		})
	}
	c := *r
	c.target = choose(r.target)
	// Blank lines part the steps, but one in a body of lines is a blank head.
	c.body = choose(strings.TrimRight(r.body, "\n"))
	if isLines(c.target) && c.body != "" {
		c.body += "\n"
	}
	return &c
}
