package conformance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func yamlValue(t *testing.T, text string) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	v, err := fromYAML(&n)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func jsonValue(t *testing.T, text string) any {
	t.Helper()
	v, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestYAMLIsReadAsJSON(t *testing.T) {
	for text, want := range map[string]string{
		"on":                       `"on"`,
		"yes":                      `"yes"`,
		"No":                       `"No"`,
		"True":                     `"True"`,
		"true":                     `true`,
		"2016-01-01":               `"2016-01-01"`,
		"2016-01-01T00:00:00Z":     `"2016-01-01T00:00:00Z"`,
		"12":                       `12`,
		"+12":                      `12`,
		"007":                      `7`,
		"0x1f":                     `"0x1f"`,
		"1_000":                    `"1_000"`,
		"1.":                       `1.0`,
		"-0.50":                    `-0.50`,
		"1e3":                      `"1e3"`,
		".inf":                     `".inf"`,
		"'12'":                     `"12"`,
		`"true"`:                   `"true"`,
		"~":                        `null`,
		"{a: }":                    `{"a":null}`,
		"{b: 1, a: [on, null]}":    `{"b":1,"a":["on",null]}`,
		"9223372036854775807":      `9223372036854775807`,
		"|\n  {\"a\":1}\n  {}":     `"{\"a\":1}\n{}"`,
		"{a: &x {b: 1}, c: *x}":    `{"a":{"b":1},"c":{"b":1}}`,
		"{<<: 1}":                  `{"<<":1}`,
		"'<b>&'":                   `"<b>&"`,
		"{'a.b': 1, c\\.d: 2}":     `{"a.b":1,"c\\.d":2}`,
		"!!binary aGVsbG8=":        `"aGVsbG8="`,
		"{settings: {index: off}}": `{"settings":{"index":"off"}}`,
	} {
		if got := toJSON(yamlValue(t, text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestChecks(t *testing.T) {
	for _, c := range []struct {
		kind, actual, want string
		good               bool
	}{
		{"match", `1`, `1`, true},
		{"match", `1.0`, `1`, true}, // at the top, as in Java
		{"match", `{"a":1}`, `{a: 1}`, true},
		{"match", `{"a":1.0}`, `{a: 1}`, false}, // but not below
		{"match", `{"a":1}`, `{a: 1, b: 2}`, false},
		{"match", `{"a":1,"b":2}`, `{a: 1}`, false},
		{"match", `{"b":2,"a":1}`, `{a: 1, b: 2}`, true},
		{"match", `[1,2]`, `[2,1]`, false},
		{"match", `[1,2]`, `[1]`, false},
		{"match", `"1"`, `1`, false},
		{"match", `1`, `"1"`, false},
		{"match", `true`, `"true"`, false},
		{"match", `null`, `~`, true},
		{"match", `0`, `~`, false},
		{"match", `null`, `0`, false},
		{"match", `9007199254740993`, `9007199254740992`, false},
		{"match", `"abc\n"`, `/^ a b c \n $/`, true},
		{"match", `"abc"`, `/^b/`, false},
		{"match", `"a b"`, `"/a \\s b # and a comment\n/"`, true},
		{"match", `1`, `/1/`, false},
		{"match", `"/"`, `/`, true},
		{"is_true", `"x"`, ``, true},
		{"is_true", `"false"`, ``, false},
		{"is_true", `0`, ``, false},
		{"is_true", `{}`, ``, true},
		{"is_true", `null`, ``, false},
		{"is_false", `null`, ``, true},
		{"is_false", `false`, ``, true},
		{"is_false", `""`, ``, true},
		{"is_false", `"no"`, ``, false},
		{"length", `[1,2]`, `2`, true},
		{"length", `{"a":1}`, `1`, true},
		{"length", `"äb"`, `2`, true},
		{"length", `[1]`, `2`, false},
		{"length", `1`, `1`, false},
		{"length", `null`, `0`, false},
		{"gt", `2`, `1`, true},
		{"gt", `1`, `1`, false},
		{"gte", `1`, `1`, true},
		{"lt", `1.5`, `2`, true},
		{"lte", `3`, `2`, false},
		{"lt", `null`, `2`, false},
		{"gt", `"b"`, `a`, true},
		{"contains", `[{"a":1,"b":2}]`, `{a: 1}`, true},
		{"contains", `[{"a":2}]`, `{a: 1}`, false},
		{"contains", `null`, `{a: 1}`, false},
	} {
		problem := checks[c.kind](jsonValue(t, c.actual), yamlValue(t, orNull(c.want)))
		if (problem == "") != c.good {
			t.Errorf("%s %s, want %s: %q", c.kind, c.actual, c.want, problem)
		}
	}
}

func orNull(s string) string {
	if s == "" {
		return "~"
	}
	return s
}

func TestPaths(t *testing.T) {
	v := jsonValue(t, `{"a":{"b.c":[{"d":1}]},"nodes":{"xyz":{"e":2}}}`)
	fill := func(s string) string { return strings.ReplaceAll(s, "$id", "xyz") }
	for path, want := range map[string]string{
		`a.b\.c.0.d`:            `1`,
		`a.b\.c.1.d`:            `null`,
		`a.b.c`:                 `null`,
		`nodes.$id.e`:           `2`,
		`nodes._arbitrary_key_`: `"xyz"`,
		``:                      toJSON(v),
		`a.b\.c.x`:              `null`,
	} {
		if got := toJSON(at(v, path, fill)); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestSkips(t *testing.T) {
	for _, c := range []struct {
		version, ranges string
		in              bool
	}{
		{"7.10.2", " - 7.9.99", false},
		{"7.9.3", " - 7.9.99", true},
		{"7.10.2", "- 7.10.1", false},
		{"7.10.2", "7.4.0 - ", true},
		{"6.8.23", "all", true},
		{"6.8.23", " - 5.99.99, 6.8.0 - 6.8.99", true},
		{"6.8.23", "6.8.23", true},
		{"5.6.16", "5.99.99 - ", false},
	} {
		if got := inRanges(c.version, c.ranges); got != c.in {
			t.Errorf("%s in %q: %t", c.version, c.ranges, got)
		}
	}
	ts := &test{skip: []skip{{features: []string{"warnings", "teleport"}}}}
	if ts.skipped("7.10.2") == "" {
		t.Error("a feature that the runner lacks does not skip the test")
	}
}

func TestRequestsAreBuiltAsClientsDo(t *testing.T) {
	old, err := parseAPI([]byte(`{"index":{"methods":["POST","PUT"],"url":{"paths":["/{index}/{type}","/{index}/{type}/{id}"]},"body":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	search, err := parseAPI([]byte(`{"search":{"url":{"paths":[{"path":"/_search","methods":["GET","POST"]},{"path":"/{index}/_search","methods":["GET","POST"]}]},"body":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		api    *api
		params []param
		body   bool
		want   string
	}{
		{old, []param{{"index", "a"}, {"type", "b"}, {"id", "1/ü,?"}, {"refresh", "true"}}, true, "PUT /a/b/1%2F%C3%BC,%3F?refresh=true"},
		{old, []param{{"index", "a"}, {"type", "b"}}, true, "POST /a/b"},
		{search, []param{{"q", "a b&c"}}, false, "GET /_search?q=a+b%26c"},
		{search, []param{{"index", "x,y"}}, true, "POST /x,y/_search"},
	} {
		method, target, err := c.api.build(c.params, c.body)
		if got := method + " " + target; err != nil || got != c.want {
			t.Errorf("got %s %v, want %s", got, err, c.want)
		}
	}
	if _, _, err := old.build([]param{{"index", "a"}}, true); err == nil {
		t.Error("a path was built without a part that all paths have")
	}
}

func TestBodies(t *testing.T) {
	lines := yamlValue(t, "- {index: {_id: 1}}\n- '{\"a\":  1}'\n- {b: on}")
	if got, want := bodyText(lines, true), "{\"index\":{\"_id\":1}}\n{\"a\":  1}\n{\"b\":\"on\"}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := bodyText(lines, false); got[0] != '[' {
		t.Errorf("a list that is not lines became %q", got)
	}
	if got := bodyText("{}\n{}", true); got != "{}\n{}\n" {
		t.Errorf("text became %q", got)
	}
}

func TestCatch(t *testing.T) {
	failed := func(status int, text string) *answer { return &answer{status: status, value: jsonValue(t, text)} }
	e := failed(400, `{"error":{"root_cause":[{"type":"parse_exception","reason":"a [b]"}],"type":"parse_exception"},"status":400}`)
	for _, c := range []struct {
		catch string
		a     *answer
		good  bool
	}{
		{"bad_request", e, true},
		{"missing", e, false},
		{"conflict", failed(409, `{}`), true},
		{"request", e, true},
		{"request", failed(404, `{}`), false},
		{`/\{root_cause=\[\{type=parse_exception, reason=a \[b\]\}\], type=parse/`, e, true},
		{"/parse_exceptions/", e, false},
		{"/x/", failed(400, `{"message":"x"}`), false},
		{"", e, false},
		{"", failed(201, `{}`), true},
		{"bad_request", failed(200, `{}`), false},
		{"/a/", failed(200, `{"error":"a"}`), false},
		{"nonsense", e, false},
	} {
		problem := judgeStatus(&request{catch: c.catch}, c.a, "GET")
		if (problem == "") != c.good {
			t.Errorf("catch %s of %d: %q", c.catch, c.a.status, problem)
		}
	}
	if problem := judgeStatus(&request{ignore: []string{"404"}}, failed(404, `{}`), "GET"); problem != "" {
		t.Error("a status to ignore:", problem)
	}
	if problem := judgeStatus(&request{}, failed(404, `{}`), "HEAD"); problem != "" {
		t.Error("what does not exist:", problem)
	}
}

func TestWarnings(t *testing.T) {
	h := http.Header{"Warning": {
		`299 Elasticsearch-7.10.2-747e1cc "say \"please\"" "Mon, 01 Jan 2020 00:00:00 GMT"`,
		`299 Elasticsearch-7.10.2-747e1cc "[types removal] no types"`,
	}}
	for _, c := range []struct {
		r    request
		good bool
	}{
		{request{warnings: []string{`say "please"`}}, true},
		{request{allowed: []string{`say "please"`}}, true},
		{request{}, false},
		{request{warnings: []string{`say "please"`, "and thanks"}}, false},
	} {
		if problem := judgeWarnings(&c.r, h); (problem == "") != c.good {
			t.Errorf("%+v: %q", c.r, problem)
		}
	}
}

func TestTypeless(t *testing.T) {
	tests, err := parseFile("index/10_basic", []byte(`
setup:
  - do: {indices.create: {index: a, include_type_name: false}}
---
"plain":
  - do:
      bulk:
        body:
          - {index: {_index: a, _type: _doc, _id: 1}}
          - '{"_index": "a", "_type": "_doc", "b": 1}'
  - match: {items.0.index._type: _doc}
  - match: {items.0.index: {_type: _doc, _id: "1"}}
  - is_true: hits.hits.0._type
---
"in the path":
  - do: {get: {index: a, type: test, id: 1}}
---
"wanted":
  - do: {indices.get: {index: a, include_type_name: true}}
`))
	if err != nil {
		t.Fatal(err)
	}
	made := typeless(&suite{tests: append(tests, &test{file: "index/12_with_types", name: "x"})})
	if len(made.tests) != 1 || made.tests[0].name != "plain" {
		t.Fatalf("%d tests are left", len(made.tests))
	}
	var text []string
	for _, st := range append(made.tests[0].setup, made.tests[0].steps...) {
		text = append(text, st.kind+" "+toJSON(st.arg))
	}
	want := `do {"indices.create":{"index":"a"}}
do {"bulk":{"body":[{"index":{"_index":"a","_id":1}},"{\"_index\": \"a\", \"b\": 1}"]}}
match {"items.0.index":{"_id":"1"}}`
	if got := strings.Join(text, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEntries(t *testing.T) {
	name, e, ok := parseEntry("get/10_basic/a: b: cannot: SRCH-01: it is so")
	if !ok || name != "get/10_basic/a: b" || e.kind != cannot || e.reason != "SRCH-01: it is so" {
		t.Errorf("%q %+v %t", name, e, ok)
	}
	for _, bad := range []string{"get/10_basic/a", "get/10_basic/a: maybe: x", "get/10_basic/a: open: "} {
		if _, _, ok := parseEntry(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestSession runs a test against a server of its own: it has to pass on the
// right answers and to fail, at the right line, on wrong ones.
func TestSession(t *testing.T) {
	text := `
setup:
  - do: {ping: {}}
---
"variables":
  - do:
      headers: {X-Who: me}
      echo: {name: a b, size: 5, body: {on: yes}}
  - match: {method: POST}
  - match: {target: "/a%20b/_echo?size=5"}
  - match: {body: "{\"on\":\"yes\"}"}
  - match: {who: me}
  - set: {target: t, method: m}
  - do: {echo: {name: $m, body: {seen: $t, both: "${m}!", $m: 1}}}
  - match: {body: "{\"seen\":\"/a%20b/_echo?size=5\",\"both\":\"POST!\",\"POST\":1}"}
  - match: {$body: {method: POST, target: /POST/_echo, body: "{\"seen\":\"/a%20b/_echo?size=5\",\"both\":\"POST!\",\"POST\":1}", who: ""}}
  - do: {ping: {}}
  - is_true: ''
  - do: {catch: param, echo: {}}
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		o := newObject()
		for _, kv := range [][2]string{{"method", r.Method}, {"target", r.RequestURI}, {"body", string(body)}, {"who", r.Header.Get("X-Who")}} {
			o.set(kv[0], kv[1])
		}
		fmt.Fprintln(w, toJSON(o))
	}))
	defer server.Close()
	apis := map[string]*api{}
	for _, spec := range []string{`{"ping":{"methods":["HEAD"],"url":{"paths":["/"]}}}`, `{"echo":{"methods":["GET","POST"],"url":{"paths":["/{name}/_echo"]},"body":{}}}`} {
		a, err := parseAPI([]byte(spec))
		if err != nil {
			t.Fatal(err)
		}
		apis[a.name] = a
	}
	run := func(text string) *failure {
		tests, err := parseFile("session", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s := &session{suite: &suite{major: 7, apis: apis}, base: server.URL, client: server.Client()}
		return s.run(context.Background(), tests[0])
	}
	if f := run(text); f != nil {
		t.Fatal(describe(&test{}, f, true))
	}
	for what, line := range map[string]int{"{method: POST}": 9, "{who: me}": 12, "is_true: ''": 18} {
		broken := strings.Replace(text, what, strings.NewReplacer("POST", "PUT", "me", "you", "is_true", "is_false").Replace(what), 1)
		if f := run(broken); f == nil || f.line != line {
			t.Errorf("a test with a wrong %s: %+v, want a failure at line %d", what, f, line)
		}
	}
}

func TestUnknownStepsAreNotIgnored(t *testing.T) {
	if _, err := parseFile("x", []byte("a:\n  - do: {ping: {}}\n  - matches: {a: 1}\n")); err == nil {
		t.Error("a step that the runner does not know is accepted")
	}
}

func TestDrafts(t *testing.T) {
	says := func(status int, target, answer string) []*call {
		return []*call{{sent: []exchange{{status: status, target: target, answer: answer}}}, {}}
	}
	for _, c := range []struct {
		p    pair
		f    failure
		kind string
		part string
	}{
		{pair{6, 5}, failure{calls: []*call{{answer: `{"error":{"type":"esperanto_unsupported_exception","reason":"the \"x\" of y: not possible for a 6.8 client on an Elasticsearch 5.6.16 cluster"}}`}}}, cannot, `refused: the "x" of y`},
		{pair{6, 7}, failure{calls: says(400, "/a", `No handler for type [geo_shape] declared`)}, cannot, "the 7.x of the tests lacks the module geo"},
		{pair{5, 6}, failure{calls: says(400, "/a", `No handler for type [geo_shape] declared`), problem: "p"}, open, "line 0: p"},
		{pair{5, 7}, failure{calls: says(400, "/a", `No handler for type [join] declared`)}, open, "line 0"},
		{pair{5, 8}, failure{calls: says(400, "/a", `No handler for type [join] declared`)}, cannot, "parent-join"},
		{pair{5, 8}, failure{calls: says(400, "/_reindex?a=b", `{}`)}, cannot, "module reindex"},
		{pair{5, 8}, failure{calls: says(200, "/_reindex", `{}`)}, open, "line 0"},
		{pair{5, 8}, failure{calls: says(400, "/a/_search", `Unknown aggregation type [moving_avg]`)}, open, "line 0"},
	} {
		if e := draft(c.p, &test{file: "search/1", name: "x"}, &c.f); e.kind != c.kind || !strings.Contains(e.reason, c.part) {
			t.Errorf("%s: %+v, want %s: %s", c.p, e, c.kind, c.part)
		}
	}
}

func TestNatureIsNoExcuseForOthers(t *testing.T) {
	for _, c := range []struct {
		p             pair
		file, problem string
		kind          string
	}{
		{pair{5, 8}, "search/1", "profile.shards.0.searches: want 1, got null", cannot},
		{pair{5, 8}, "search/1", "hits.total: want 1, got null", open},
		{pair{5, 8}, "indices.upgrade/1", "x", cannot},
		{pair{5, 7}, "indices.upgrade/1", "x", open},
		{pair{5, 7}, "cat.aliases/1", "$body: does not match ^a", open},
		{pair{7, 8}, "nodes.info/1", "want success, got status 400", open},
	} {
		if e := draft(c.p, &test{file: c.file, name: "x"}, &failure{problem: c.problem}); e.kind != c.kind {
			t.Errorf("%s %s %q: %+v, want %s", c.p, c.file, c.problem, e, c.kind)
		}
	}
}
