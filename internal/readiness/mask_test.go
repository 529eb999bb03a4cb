package readiness

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

func TestExceptionsNameChanges(t *testing.T) {
	names := map[string]bool{}
	for _, c := range translate.Changes() {
		names[c.Name] = true
	}
	for name := range exceptions {
		if !names[name] {
			t.Errorf("there is no change %s", name)
		}
	}
	for name := range headers {
		if !names[name] {
			t.Errorf("there is no change %s", name)
		}
	}
}

func TestMaskTarget(t *testing.T) {
	v5 := esapi.V(5, 6)
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/books/book/secret-17?routing=alice&_source_include=a,b&realtime=false", "GET /books/book/{…}?routing=…&_source_include=…&realtime=false"},
		{"GET", "/books/book/_search_me", "GET /books/book/{…}"},
		{"POST", "/books/book/_search?size=-5&q=name:alice&pretty", "POST /books/book/_search?size=-1&q=…&pretty"},
		{"GET", "/_search/scroll/DnF1ZXJ5", "GET /_search/scroll/{…}"},
		{"PUT", "/_template/alices", "PUT /_template/{…}"},
		{"POST", "/%3Clogs-%7Bnow%2Fd%7D%3E/book", "POST /%3Clogs-%7Bnow%2Fd%7D%3E/book"},
		{"GET", "/_strange/alice/_bob", "GET /_strange/{…}/_bob"},
	} {
		path, query, _ := strings.Cut(c.target, "?")
		got := maskTarget(esapi.ParseEndpoint(c.method, path, v5), c.method, path, esapi.ParseParams(query))
		if got != c.want {
			t.Errorf("%s is shown as %s, want %s", c.target, got, c.want)
		}
	}
}

func TestMaskBodyHidesValues(t *testing.T) {
	for _, c := range []struct{ api, body, want string }{
		{"search", `{"query":{"match":{"name":{"query":"alice","type":"phrase"}}},"size":-3,"from":17,"sort":[{"year":{"order":"asc"}}],"_source":["name","mail"]}`,
			`{"query":{"match":{"name":{"query":"…","type":"phrase"}}},"size":-1,"from":0,"sort":[{"year":{"order":"asc"}}],"_source":["…","…"]}`},
		{"search", `{"query":{"terms":{"n":[1,2,3,4,5]}},"x":null,"y":true}`, `{"query":{"terms":{"n":[0,0,0,"…"]}},"x":null,"y":true}`},
		{"search", `{"script_fields":{"f":{"script":{"inline":"doc['a'].value == 'alice'","lang":"painless","params":{"alice":1}}}}}`,
			`{"script_fields":{"f":{"script":{"inline":"…","lang":"painless","params":{"…":"…"}}}}}`},
		{"index", `{"name":"alice","deep":{"mail":"a@b"}}`, `{"…":"…"}`},
		{"update", `{"doc":{"alice":"x"},"upsert":{"bob":1},"retry":1}`, `{"doc":{"…":"…"},"upsert":{"…":"…"},"retry":0}`},
		{"bulk", `{"index":{"_index":"books","_type":"book","_id":"alice"}}` + "\n" + `{"name":"alice"}` + "\n" + `{"delete":{"_id":"bob"}}` + "\n",
			`{"index":{"_index":"…","_type":"…","_id":"…"}}` + "\n" + `{"…":"…"}` + "\n" + `{"delete":{"_id":"…"}}` + "\n"},
		{"search", `not JSON: alice`, `…`},
		{"indices.create", `{"mappings":{"_meta":{"esperanto":{"type":"alice"}},"properties":{"n":{"type":"text"}}}}`, `{"mappings":{"properties":{"n":{"type":"text"}}}}`},
	} {
		got := maskBody(c.api, []byte(c.body))
		if got != c.want {
			t.Errorf("%s %s\nis shown as %s\nwant        %s", c.api, c.body, got, c.want)
		}
		for _, secret := range []string{"alice", "bob", "a@b"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s is shown in %s", secret, got)
			}
		}
	}
}

func TestMaskIsBounded(t *testing.T) {
	wide := `{"query":{"bool":{"should":[` + strings.Repeat(`{"term":{"a":"b"}},`, 5000) + `{}]}}`
	var keys strings.Builder
	for i := range 5000 {
		keys.WriteString(`"k` + strings.Repeat("x", i%50) + `":{"a":1},`)
	}
	for _, body := range []string{
		wide + "}", `{` + keys.String() + `"end":1}`, strings.Repeat(`{"a":`, 900) + "1" + strings.Repeat("}", 900),
		`{"` + strings.Repeat("k", 100_000) + `":1}`,
	} {
		got := maskBody("search", []byte(body))
		if len(got) > 2*maxBody || !gjson.Valid(got) {
			t.Errorf("%d bytes, valid %v", len(got), gjson.Valid(got))
		}
	}
	if got := maskTarget(esapi.Endpoint{}, "GET", "/"+strings.Repeat("_x/", 10_000), esapi.Params{}); len(got) > maxPath+10 {
		t.Errorf("a path of %d bytes", len(got))
	}
}

func TestIndicesOf(t *testing.T) {
	v := esapi.V(5, 6)
	for _, c := range []struct{ target, body, want string }{
		{"/books/_search", `{}`, "books"},
		{"/_search", `{}`, "-"},
		{"/books/_bulk", "{\"index\":{}}\n{\"_index\":\"no\"}\n{\"delete\":{\"_index\":\"b\",\"_id\":\"1\"}}\n{\"create\":{\"_index\":\"c\"}}\n{}\n", "books,b,c"},
		{"/_msearch", "{\"index\":[\"a\",\"b\"]}\n{}\n{\"index\":\"a\"}\n{\"index\":\"no\"}\n", "a,b"},
		{"/x/_msearch", "{}\n{}\n", "x"},
		{"/_mget", `{"docs":[{"_index":"a","_id":"1"},{"_index":"b","_id":"1"},{"_index":"a","_id":"2"}]}`, "a,b"},
		{"/_aliases", `{"actions":[{"add":{"index":"a","alias":"x"}}]}`, "a"},
	} {
		if got := strings.Join(indicesOf(esapi.ParseEndpoint("POST", c.target, v), []byte(c.body)), ","); got != c.want {
			t.Errorf("%s %q is about %s, want %s", c.target, c.body, got, c.want)
		}
	}
	var lines strings.Builder
	for i := range 100_000 {
		lines.WriteString("{\"delete\":{\"_index\":\"i" + strings.Repeat("x", i%40) + "\"}}\n")
	}
	if got := indicesOf(esapi.Endpoint{API: "bulk"}, []byte(lines.String())); len(got) != maxIndices {
		t.Errorf("%d indices", len(got))
	}
}

func FuzzMask(f *testing.F) {
	f.Add("search", `{"a":["alice",{"b":1}]}`, "/a/b/c?d=e")
	f.Fuzz(func(t *testing.T, api, body, path string) {
		_ = maskBody(api, []byte(body))
		_ = indicesOf(esapi.Endpoint{API: api}, []byte(body))
		_ = maskTarget(esapi.ParseEndpoint("GET", path, esapi.V(5, 6)), "GET", path, esapi.ParseParams(path))
		_, _ = differences(readAnswer{200, []byte(body)}, readAnswer{200, []byte(path)}, false)
	})
}
