package scenario

import (
	"net/http"
	"strings"
	"testing"
)

// What the scenario does not compare hides nothing else.
func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name, home, got string
		want            string // a part of what is found, "" if they agree
	}{
		{"equal", `{"a":1}`, `{"a":1}`, ""},
		{"order of keys", `{"a":1,"b":2}`, `{"b":2,"a":1}`, ""},
		{"another value", `{"a":1}`, `{"a":2}`, "a: home 1, gateway 2"},
		{"another kind of number", `{"a":1}`, `{"a":1.0}`, "a: home 1"},
		{"the last place of a sum", `{"sum":0.30000000000000004}`, `{"sum":0.3}`, ""},
		{"a missing member", `{"a":1,"b":null}`, `{"a":1}`, "b: home null, gateway has none"},
		{"a member too many", `{}`, `{"_type":"x"}`, "_type: home has none"},
		{"took", `{"took":1}`, `{"took":200}`, ""},
		{"took of another kind", `{"took":1}`, `{"took":"1"}`, "took"},
		{"score", `{"hits":[{"_score":1.5}]}`, `{"hits":[{"_score":0.2}]}`, ""},
		{"score against null", `{"hits":[{"_score":1.5}]}`, `{"hits":[{"_score":null}]}`, "_score"},
		{"a source with such names", `{"_source":{"took":1}}`, `{"_source":{"took":2}}`, "_source.took"},
		{"numbers of a source to the letter", `{"_source":{"n":1.10}}`, `{"_source":{"n":1.1}}`, "_source.n"},
		{"shards", `{"_shards":{"total":5,"failed":0}}`, `{"_shards":{"total":1,"failed":0}}`, ""},
		{"failed shards", `{"_shards":{"total":5,"failed":0}}`, `{"_shards":{"total":5,"failed":1}}`, "failed"},
		{"text of an error", `{"error":{"type":"a","reason":"x"}}`, `{"error":{"type":"a","reason":"y"}}`, ""},
		{"type of an error", `{"error":{"type":"a"}}`, `{"error":{"type":"b"}}`, "error.type"},
		{"type of a cause", `{"error":{"type":"a","root_cause":[{"type":"c"}]}}`, `{"error":{"type":"a","root_cause":[{"type":"d"}]}}`, "root_cause"},
		{"type of a shard's error", `{"failures":[{"reason":{"type":"a"}}]}`, `{"failures":[{"reason":{"type":"b"}}]}`, "failures[0].reason.type"},
		{"ids that were made", `{"_id":"AWxyz12345678901234A"}`, `{"_id":"BWxyz12345678901234B"}`, ""},
		{"ids that were given", `{"_id":"1"}`, `{"_id":"2"}`, "_id"},
		{"columns of a text", "green  open x -nP3AD5gR_CC2yUOdYVanQ 3.1kb\n", "green open x anP3AD5gR_CC2yUOdYVanQ  210b\n", ""},
		{"words of a text", "green open\n", "yellow open\n", "body"},
	} {
		home := &answer{status: 200, header: http.Header{}, body: []byte(c.home)}
		got := &answer{status: 200, header: http.Header{}, body: []byte(c.got)}
		found := strings.Join(differences(home, got), "; ")
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, found, c.want)
		}
	}
	home := &answer{status: 200, header: http.Header{}}
	if got := differences(home, &answer{status: 404, header: http.Header{}}); len(got) != 1 {
		t.Errorf("another status: found %q", got)
	}
}

// Steps are written once for all dialects.
func TestParse(t *testing.T) {
	s, err := parseSubject("books", `# comment
--- first
PUT /books/<56|book|_doc>/1
> Content-Type: -
{"a": <56|{"b":>1<56|}>}
< v = _version

--- second
for 5: POST /_bulk
{"index": {}}

{"n": 1}
for 6 7: GET /x?v=${v}
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.steps) != 2 {
		t.Fatalf("%d steps", len(s.steps))
	}
	five, eight := s.steps[0].requests[5], s.steps[0].requests[8]
	if five.target != "/books/book/1" || five.body != `{"a": {"b":1}}` || eight.target != "/books/_doc/1" || eight.body != `{"a": 1}` {
		t.Errorf("5: %s %q, 8: %s %q", five.target, five.body, eight.target, eight.body)
	}
	if eight.header.Get("Content-Type") != "-" || len(eight.captures) != 1 {
		t.Errorf("header %v, captures %v", eight.header, eight.captures)
	}
	second := s.steps[1].requests
	if second[5].body != "{\"index\": {}}\n\n{\"n\": 1}\n" || second[7].method != "GET" || second[8] != nil {
		t.Errorf("second step: %+v", second)
	}
	for _, wrong := range []string{"GET /x\n", "--- a\nGET /x\n> nothing\n", "--- a\nGET /x\n--- a\nGET /y\n", "--- a\nbody\n"} {
		if _, err := parseSubject("wrong", wrong); err == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}

// Every line of expected.txt names steps that there are.
func TestFilesAreWellFormed(t *testing.T) {
	subjects, err := readSubjects()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readExpected(subjects); err != nil {
		t.Error(err)
	}
	count := map[int]int{}
	for _, s := range subjects {
		for _, st := range s.steps {
			for major := range st.requests {
				count[major]++
			}
		}
	}
	for _, major := range majors {
		if count[major] < 120 {
			t.Errorf("the dialect of %d has %d steps", major, count[major])
		}
	}
}
