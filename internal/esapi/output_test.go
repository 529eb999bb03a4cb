package esapi

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

func render(t testing.TB, o OutputOptions, input string) string {
	t.Helper()
	var b strings.Builder
	w := NewOutput(&b, o)
	for i := range len(input) { // one byte at a time: pieces may be cut anywhere
		if _, err := w.Write([]byte(input[i : i+1])); err != nil {
			t.Fatalf("%s: %v", input, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("%s: %v", input, err)
	}
	return b.String()
}

const sample = `{"took":1,"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"total":{"value":2,"relation":"eq"},` +
	`"max_score":1.0,"hits":[{"_index":"books","_id":"1","_source":{"title":"a","tags":["x","y"],"a.b":1}},` +
	`{"_index":"books","_id":"2","_source":{"title":"b","empty":{},"none":[]}}]}}`

func TestFilterPath(t *testing.T) {
	for _, test := range []struct{ filter, input, want string }{
		{"took", sample, `{"took":1}`},
		{"took,timed_out", sample, `{"took":1,"timed_out":false}`},
		{"t*", sample, `{"took":1,"timed_out":false}`},
		{"nothing", sample, `{}`},
		{"hits.nothing", sample, `{}`},
		{"hits.hits._id", sample, `{"hits":{"hits":[{"_id":"1"},{"_id":"2"}]}}`},
		{"hits.total", sample, `{"hits":{"total":{"value":2,"relation":"eq"}}}`},
		{"hits.total.value.deeper", sample, `{}`},
		{"*.total", sample, `{"_shards":{"total":1},"hits":{"total":{"value":2,"relation":"eq"}}}`},
		{"hits.hits._source.tags", sample, `{"hits":{"hits":[{"_source":{"tags":["x","y"]}}]}}`},
		{"**.title", sample, `{"hits":{"hits":[{"_source":{"title":"a"}},{"_source":{"title":"b"}}]}}`},
		{"**.took", sample, `{}`}, // ** is one name at least
		{"**", `{"a":1}`, `{"a":1}`},
		{"hits.**.title", sample, `{"hits":{"hits":[{"_source":{"title":"a"}},{"_source":{"title":"b"}}]}}`},
		{"hits.**.value", sample, `{"hits":{"total":{"value":2}}}`},
		{`hits.hits._source.a\.b`, sample, `{"hits":{"hits":[{"_source":{"a.b":1}}]}}`},
		{"hits.hits._source.empty", sample, `{"hits":{"hits":[{"_source":{"empty":{}}}]}}`},
		{"hits.hits._source.e*,hits.hits._source.none", sample, `{"hits":{"hits":[{"_source":{"empty":{},"none":[]}}]}}`},
		{"_shards.*il*", sample, `{"_shards":{"failed":0}}`},
		{" took , ", sample, `{"took":1}`},
		{",", `{"a":1}`, `{"a":1}`},
		{"...", `{"a":1}`, `{}`},

		{"-hits,-_shards", sample, `{"took":1,"timed_out":false}`},
		{"-hits.hits,-took", sample, `{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"total":{"value":2,"relation":"eq"},"max_score":1.0}}`},
		{"-a.b", `{"a":{"b":1},"c":{}}`, `{"c":{}}`},
		{"-a.b", `{"a":{},"c":[]}`, `{"c":[]}`},
		{"-a.b", `{"a":[1,{"b":1},[{"b":2,"c":3}]]}`, `{"a":[1,[{"c":3}]]}`},
		{"-**.x", `{"a":{"x":1,"y":{"x":2,"z":3}},"x":0}`, `{"a":{"y":{"z":3}},"x":0}`},
		{"-*", sample, `{}`},

		{"hits.*,-hits.hits", sample, `{"hits":{"total":{"value":2,"relation":"eq"},"max_score":1.0}}`},
		{"hits.hits,-**._source", sample, `{"hits":{"hits":[{"_index":"books","_id":"1"},{"_index":"books","_id":"2"}]}}`},
		{"a,-a.b", `{"a":{"b":1}}`, `{}`},

		{"b", `[{"a":1,"b":2},{"a":3},{"b":[{"c":4}]}]`, `[{"b":2},{"b":[{"c":4}]}]`},
		{"b", `[]`, ``},
		{"b", `[{"a":1}]`, ``},
		{"-b", `[{"a":1}]`, `[{"a":1}]`},
		{"é,x", "{\"\\u00e9\":1,\"é\":2,\"y\":3}", "{\"\\u00e9\":1,\"é\":2}"},
		{"a.b", `{"a":{"b":1},"a":{"b":2}}`, `{"a":{"b":1},"a":{"b":2}}`},
		{"a", `{"a":12345678901234567890.10e+5}`, `{"a":12345678901234567890.10e+5}`},
		{"", ` { "a" : [ 1 , null , true , "\"\/\u0041" ] } ` + "\n", `{"a":[1,null,true,"\"\/\u0041"]}`},
	} {
		params := ParseParams("filter_path=" + strings.NewReplacer(",", "%2C", " ", "+").Replace(test.filter))
		o, changed := OutputFrom(&params, "")
		if want := strings.Trim(test.filter, ", ") != ""; changed != want {
			t.Errorf("%s: changed is %v", test.filter, changed)
		}
		if got := render(t, o, test.input); got != test.want {
			t.Errorf("%s of %s\n got %s\nwant %s", test.filter, test.input, got, test.want)
		}
	}
}

func TestPretty(t *testing.T) {
	const want = `{
  "took" : 1,
  "empty" : { },
  "none" : [ ],
  "hits" : [
    {
      "_id" : "1",
      "n" : [
        1,
        [ ],
        1.0E9
      ]
    },
    "x"
  ]
}
`
	if got := render(t, OutputOptions{Pretty: true}, `{"took":1,"empty":{},"none":[],"hits":[{"_id":"1","n":[1,[],1.0E9]},"x"]}`); got != want {
		t.Errorf("got %s", got)
	}
	if got := render(t, OutputOptions{Pretty: true, FilterPath: []string{"x"}}, `{"took":1}`); got != "{ }\n" {
		t.Errorf("got %q", got)
	}
	if got := render(t, OutputOptions{Pretty: true}, " \n"); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestYAML(t *testing.T) {
	const want = `---
took: 1
empty: {}
"a b": null
hits:
- _id: "1"
  tags:
  - "x"
  - "y"
  source:
    deep:
      "on": true
- []
- - 1
  - 2
- "é\n"
last: 1.0
`
	if got := render(t, OutputOptions{Format: "yaml"}, `{"took":1,"empty":{},"a b":null,"hits":[{"_id":"1","tags":["x","y"],"source":{"deep":{"on":true}}},[],[1,2],"é\n"],"last":1.0}`); got != want {
		t.Errorf("got %s", got)
	}
	for input, want := range map[string]string{`{}`: "--- {}\n", `[]`: "--- []\n", `[1]`: "---\n- 1\n", `"x"`: "--- \"x\"\n", `[[[1]],{"a":{}}]`: "---\n- - - 1\n- a: {}\n"} {
		if got := render(t, OutputOptions{Format: "yaml"}, input); got != want {
			t.Errorf("%s gives %q", input, got)
		}
	}
}

func TestOutputFrom(t *testing.T) {
	for _, test := range []struct {
		query, accept string
		want          OutputOptions
		changed       bool
	}{
		{"", "", OutputOptions{}, false},
		{"q=x", "application/json", OutputOptions{}, false},
		{"pretty", "", OutputOptions{Pretty: true}, true},
		{"pretty=false&format=json", "application/yaml", OutputOptions{}, false},
		{"format=yaml", "", OutputOptions{Format: "yaml"}, true},
		{"", "application/yaml", OutputOptions{Format: "yaml"}, true},
		{"", "application/vnd.elasticsearch+yaml; compatible-with=8", OutputOptions{Format: "yaml"}, true},
		{"filter_path=a.*,-b", "", OutputOptions{FilterPath: []string{"a.*", "-b"}}, true},
		{"filter_path=", "", OutputOptions{}, false},
	} {
		params := ParseParams(test.query)
		got, changed := OutputFrom(&params, test.accept)
		if !reflect.DeepEqual(got, test.want) || changed != test.changed {
			t.Errorf("%q, %q: %+v, %v", test.query, test.accept, got, changed)
		}
	}
}

func TestBrokenJSONFails(t *testing.T) {
	for _, input := range []string{
		`{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{,}`, `[1,]`, `[1 2]`, `{"a" 1}`, `{"a":1]`, `[1}`, `{} {}`, `x`, `tru`, `trux`,
		`01`, `-`, `1.`, `1e`, `1e+`, `.5`, `+1`, `1.e1`, `"a`, `"\x"`, `"\u12g4"`, "\"a\nb\"", `{1:2}`, `nul`, `}`, `]`, `,`,
		strings.Repeat("[", maxDepth+1),
	} {
		for _, o := range []OutputOptions{{}, {Pretty: true}, {Format: "yaml"}, {FilterPath: []string{"a.b", "-c"}}} {
			w := NewOutput(io.Discard, o)
			_, err := w.Write([]byte(input))
			if closed := w.Close(); err == nil {
				err = closed
			}
			if err == nil {
				t.Errorf("%+v took %s", o, input)
			}
		}
	}
	w := NewOutput(io.Discard, OutputOptions{})
	w.Write([]byte(`{"a":`))
	_, err := w.Write([]byte(`  ?`))
	if broken, ok := err.(*Broken); !ok || broken.Offset != 7 {
		t.Errorf("got %v, want an error at byte 7", err)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte(sample), "hits.*,-**._source", uint8(7))
	f.Add([]byte(`[1,-0.5e+9,"\ud83d\ude00",{"a":[{}]}]`), "a.**", uint8(1))
	f.Add([]byte(`{"a":tru}`), "-a", uint8(0))
	f.Fuzz(func(t *testing.T, input []byte, filter string, cut uint8) {
		write := func(o OutputOptions) (string, error) {
			var b bytes.Buffer
			w := NewOutput(&b, o)
			for p := input; len(p) > 0; {
				n := min(len(p), int(cut)+1)
				if _, err := w.Write(p[:n]); err != nil {
					return "", err
				}
				p = p[n:]
			}
			err := w.Close()
			return b.String(), err
		}
		pretty, err := write(OutputOptions{Pretty: true})
		blank := len(bytes.Trim(input, " \t\r\n")) == 0
		deep := bytes.Count(input, []byte("["))+bytes.Count(input, []byte("{")) > maxDepth
		if valid := json.Valid(input) || blank; valid != (err == nil) && !deep {
			t.Fatalf("valid is %v, but got %v", valid, err)
		}
		if err == nil && !blank {
			if a, b := compacted(t, []byte(pretty)), compacted(t, input); a != b {
				t.Fatalf("became %s\n    from %s", a, b)
			}
		}
		params := ParseParams("filter_path=" + filter)
		o, _ := OutputFrom(&params, "")
		if filtered, err := write(o); err == nil && !blank && strings.TrimSpace(filtered) != "" && !json.Valid([]byte(filtered)) {
			t.Fatalf("%s of %s gives %s", filter, input, filtered)
		}
		o.Format = "yaml"
		write(o)
	})
}

// compacted is a JSON text without blanks, all else unchanged.
func compacted(t *testing.T, text []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b.String()
}

func BenchmarkOutput(b *testing.B) {
	hit := `{"_index":"books","_id":"1","_score":1.0,"_source":{"title":"` + strings.Repeat("some text ", 90) + `","year":1999}}`
	answer := []byte(`{"hits":{"hits":[` + strings.Repeat(hit+",", 999) + hit + `]}}`)
	for name, o := range map[string]OutputOptions{"filter": {FilterPath: []string{"hits.hits._id"}}, "pretty": {Pretty: true}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				w := NewOutput(io.Discard, o)
				w.Write(answer)
				w.Close()
			}
		})
	}
}
