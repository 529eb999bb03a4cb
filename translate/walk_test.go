package translate

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// touchAll makes a rule set that has a rule at every place, which looks at the
// node and changes nothing, so that the walker visits all that it can visit.
func touchAll() *ruleSet {
	rules := map[Place][]bound{}
	c := &Change{ID: "X-01", Name: "EverythingIsVisited", Doc: "for tests"}
	for p := range grammar {
		rules[p] = []bound{{change: c, do: func(_ *Exchange, n *Node) error {
			n.Has("some key")
			return nil
		}}}
	}
	return compile(rules)
}

// The grammar is complete once the package is initialized.
var everything = sync.OnceValue(touchAll)

func testExchange() *Exchange { return &Exchange{ctx: context.Background(), Params: &esapi.Params{}} }

// inMemory walks a body that is in memory as a whole.
func inMemory(root Place, body []byte) ([]byte, error) {
	w := &walker{x: testExchange()}
	return w.body(nil, everything().places[root], body)
}

// streamed walks a body that arrives in pieces.
func streamed(root Place, from io.Reader) ([]byte, error) {
	var b bytes.Buffer
	err := translateTo(&b, testExchange(), everything().places[root], from)
	return b.Bytes(), err
}

// inPieces gives a few bytes at a time.
type inPieces struct {
	b []byte
	r *rand.Rand
}

func (p *inPieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := min(1+p.r.Intn(7), len(p.b), len(b))
	copy(b, p.b[:n])
	p.b = p.b[n:]
	return n, nil
}

// tokens are a body's tokens with the text of its numbers, in order.
func tokens(body []byte) ([]json.Token, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var all []json.Token
	for {
		t, err := d.Token()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
}

// roots are the places at which bodies begin.
func roots() map[Place]bool {
	all := map[Place]bool{Body: true, Answer: true}
	for _, p := range requestRoots {
		all[p] = true
	}
	for _, p := range answerRoots {
		all[p] = true
	}
	return all
}

// compareWalk walks a body at a place in both ways and compares it with what
// encoding/json sees.
func compareWalk(t *testing.T, root Place, body []byte) {
	t.Helper()
	want, wantErr := tokens(body)
	if !json.Valid(body) && wantErr == nil {
		return // several values, or none
	}
	ways := map[string]func() ([]byte, error){
		"in memory":             func() ([]byte, error) { return inMemory(root, body) },
		"streamed":              func() ([]byte, error) { return streamed(root, bytes.NewReader(body)) },
		"streamed in few bytes": func() ([]byte, error) { return streamed(root, &inPieces{body, rand.New(rand.NewSource(1))}) },
	}
	for way, walk := range ways {
		got, err := walk()
		if wantErr != nil {
			continue // that no broken body becomes a good one is for TestCutBodies
		}
		if err != nil {
			if strings.Contains(err.Error(), "nested too deeply") {
				continue
			}
			t.Fatalf("%s at %s: %v\nbody %s", way, root, err, body)
		}
		after, err := tokens(got)
		if err != nil {
			t.Fatalf("%s at %s: the result is broken: %v\nbody   %s\nresult %s", way, root, err, body, got)
		}
		if !equalTokens(want, after) {
			t.Fatalf("%s at %s: the value changed\nbody   %s\nresult %s", way, root, body, got)
		}
	}
}

func equalTokens(a, b []json.Token) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

var bodies = []string{
	`{}`, `[]`, `null`, `1.10`, `"x"`, ` { } `, "",
	`{"query":{"bool":{"must":[{"match":{"title":"a"}},{"terms":{"k":["a","b"]}}],"filter":{"range":{"n":{"gte":9007199254740993,"lt":1.50e+10}}}}}}`,
	`{"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,"hits":[{"_index":"b","_id":"1","_score":1.0,"_source":{"a":[{"b":1.0}],"hits":{"hits":[]}}}]},"aggregations":{"x":{"buckets":[{"key":1,"doc_count":2,"y":{"value":-0.0}}]}}}`,
	`{"took":1,"responses":[{"hits":{"hits":[]}},{"error":{"root_cause":[],"type":"x"},"status":400}]}`,
	`{"items":[{"index":{"_index":"b","_id":"1","status":201}},{"delete":{"_id":"2"}}],"errors":false}`,
	`{"a\"b":"\\","c":"\u00e9\ud83d\ude00","":{"":[[],[[]]]}}`,
	`{"aggs":{"a.b":{"filters":{"filters":[{"term":{"k":"a"}}]},"aggs":{"c":{"top_hits":{"sort":["_score",{"d":{"order":"asc"}}]}}}}}}`,
	`{"suggest":{"s":[{"text":"a","options":[{"text":"b","_id":"1"}]}]},"hits":{"hits":[],"total":0}}`,
	"{\n  \"hits\" : {\n \"hits\" : [ {\"_id\" : \"1\"} , {} ]\n , \"after\" : 1 }\t}\r\n",
	`{"hits":[1,2,{"hits":[]}],"_shards":[]}`, `{"hits":null,"error":"text","items":{}}`,
	`{"index":{"aliases":{"a":{"filter":{"term":{"k":1}}}},"mappings":{"doc":{"properties":{"f":{"type":"text","fields":{"raw":{"type":"keyword"}}}}}},"settings":{"index":{"number_of_shards":"1"}}}}`,
}

func TestWalkAgreesWithEncodingJSON(t *testing.T) {
	for root := range roots() {
		for _, body := range bodies {
			compareWalk(t, root, []byte(body))
		}
	}
	for _, root := range fuzzed {
		for _, body := range goldenBodies(t) {
			compareWalk(t, root, []byte(body))
		}
	}
}

// fuzzed are the places at which the most can be found below.
var fuzzed = []Place{SearchBody, SearchAnswer, MsearchAnswer, BulkAnswer, IndexBody, IndicesAnswer, UpdateBody}

// goldenBodies are the JSON bodies of all goldens of the catalogue.
func goldenBodies(t testing.TB) []string {
	files, err := filepath.Glob("catalogue/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if i := bytes.IndexByte(f.Data, '{'); i >= 0 && json.Valid(f.Data[i:]) {
				all = append(all, string(f.Data[i:]))
			}
		}
	}
	return all
}

// A body that is cut anywhere must not become a good one: the client would take
// the part for the whole.
func TestCutBodies(t *testing.T) {
	for _, root := range fuzzed {
		for _, body := range bodies {
			body = strings.TrimSpace(body)
			if !strings.HasPrefix(body, "{") {
				continue
			}
			for cut := 1; cut < len(body); cut++ {
				part := []byte(body[:cut])
				if got, err := inMemory(root, part); err == nil {
					t.Fatalf("in memory at %s: %q became %q", root, part, got)
				}
				if got, err := streamed(root, bytes.NewReader(part)); err == nil {
					t.Fatalf("streamed at %s: %q became %q", root, part, got)
				}
			}
		}
	}
}

func TestWalkRefusesWhatFollows(t *testing.T) {
	for _, body := range []string{`{} {}`, `{}x`, `[]]`, `{}}`, `{"a":1},`} {
		if got, err := inMemory(SearchBody, []byte(body)); err == nil {
			t.Errorf("in memory: %q became %q", body, got)
		}
		if got, err := streamed(SearchAnswer, strings.NewReader(body)); err == nil {
			t.Errorf("streamed: %q became %q", body, got)
		}
	}
}

func TestWalkBoundsDepth(t *testing.T) {
	deep := strings.Repeat(`{"bool":{"must":`, 2000) + `{"match_all":{}}` + strings.Repeat(`}}`, 2000)
	if _, err := inMemory(SearchBody, []byte(`{"query":`+deep+`}`)); err == nil {
		t.Error("a query nested 2,000 levels deep is walked")
	}
	opaque := strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000)
	if _, err := inMemory(Document, []byte(`{"a":`+opaque+`}`)); err != nil {
		t.Errorf("a deep document is refused: %v", err)
	}
}

func FuzzWalk(f *testing.F) {
	for _, body := range append(bodies, goldenBodies(f)...) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, root := range fuzzed {
			compareWalk(t, root, body)
		}
	})
}

func TestFilterContext(t *testing.T) {
	var filtered []string
	rules := map[Place][]bound{Clause("term"): {{change: &Change{}, do: func(_ *Exchange, n *Node) error {
		if n.InFilter() {
			filtered = append(filtered, n.Keys()[0])
		}
		return nil
	}}}}
	w := &walker{x: testExchange()}
	const body = `{"query":{"bool":{
		"must":[{"term":{"no":1}},{"constant_score":{"filter":{"bool":{"should":[{"term":{"in constant_score":1}}]}}}}],
		"must_not":{"term":{"in must_not":1}},"filter":[{"nested":{"query":{"term":{"in filter":1}}}}],"should":{"term":{"no":1}}}},
		"post_filter":{"term":{"no":1}},
		"aggs":{"f":{"filter":{"term":{"in an aggregation":1}},"aggs":{"g":{"filters":{"filters":[{"term":{"in filters":1}}]}}}}}}`
	if _, err := w.body(nil, compile(rules).places[SearchBody], []byte(body)); err != nil {
		t.Fatal(err)
	}
	want := "in constant_score, in must_not, in filter, in an aggregation, in filters"
	if got := strings.Join(filtered, ", "); got != want {
		t.Errorf("in filters are %s; wanted %s", got, want)
	}
}

// Keys that no rule has given keep their bytes, whatever they are.
func TestKeysKeepTheirBytes(t *testing.T) {
	for _, key := range []string{`"\u00e9"`, `"\ud800"`, "\"\xff\"", "\"\u2028\"", `"a\/b"`, "\"\x00\""} {
		for root, body := range map[Place]string{
			SearchBody:   `{"aggs":{` + key + `:{"terms":{"field":"a"}}}}`,
			SearchAnswer: `{` + key + `:1,"hits":{` + key + `:1,"hits":[{` + key + `:1}]},"aggregations":{` + key + `:{"value":1}}}`,
		} {
			if got, err := inMemory(root, []byte(body)); string(got) != body || err != nil {
				t.Errorf("in memory %q became %q, %v", body, got, err)
			}
			if got, err := streamed(root, strings.NewReader(body)); string(got) != body || err != nil {
				t.Errorf("streamed %q became %q, %v", body, got, err)
			}
		}
	}
}
