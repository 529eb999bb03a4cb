package esapi

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var (
	v56  = V(5, 6)
	v68  = V(6, 8)
	v717 = V(7, 17)
	v817 = V(8, 17)
)

func TestParseEndpoint(t *testing.T) {
	for _, test := range []struct {
		version Version
		request string
		want    Endpoint
	}{
		{v56, "PUT /books/book/1", Endpoint{API: "index", Index: "books", Type: "book", ID: "1"}},
		{v68, "PUT /books/_doc/1", Endpoint{API: "index", Index: "books", Type: "_doc", ID: "1"}},
		{v717, "PUT /books/_doc/1", Endpoint{API: "index", Index: "books", ID: "1"}},
		{v717, "PUT /books/book/1", Endpoint{API: "index", Index: "books", Type: "book", ID: "1"}},
		{v817, "PUT /books/_doc/1", Endpoint{API: "index", Index: "books", ID: "1"}},
		{v817, "PUT /books/book/1", Endpoint{}},
		{v56, "POST /books/book", Endpoint{API: "index", Index: "books", Type: "book"}},
		{v56, "GET /books/_mappings,_settings", Endpoint{API: "indices.get", Index: "books", Feature: "_mappings,_settings"}},
		{v56, "GET /books/_mapping", Endpoint{API: "indices.get_mapping", Index: "books"}},

		{v56, "POST /books/_update/1", Endpoint{API: "index", Index: "books", Type: "_update", ID: "1"}},
		{v717, "POST /books/_update/1", Endpoint{API: "update", Index: "books", ID: "1"}},
		{v717, "PUT /books/_update/1", Endpoint{}},
		{v717, "POST /books/_doc/1/_update", Endpoint{API: "update", Index: "books", Type: "_doc", ID: "1"}},
		{v817, "POST /books/_doc/1/_update", Endpoint{}},
		{v68, "PUT /books/book/1/_create", Endpoint{API: "create", Index: "books", Type: "book", ID: "1"}},
		{v717, "PUT /books/_create/1", Endpoint{API: "create", Index: "books", ID: "1"}},

		// A word of the API behind _doc: a search up to 7.x, a document in 8.x.
		{v717, "POST /books/_doc/_search", Endpoint{API: "search", Index: "books", Type: "_doc"}},
		{v717, "PUT /books/_doc/_search", Endpoint{API: "index", Index: "books", ID: "_search"}},
		{v717, "GET /books/_doc/_search", Endpoint{API: "search", Index: "books", Type: "_doc"}},
		{v817, "POST /books/_doc/_search", Endpoint{API: "index", Index: "books", ID: "_search"}},
		{v817, "POST /books/_doc/_count", Endpoint{API: "index", Index: "books", ID: "_count"}},
		{v817, "POST /books/_doc/_bulk", Endpoint{API: "index", Index: "books", ID: "_bulk"}},
		{v68, "POST /books/_doc/_bulk", Endpoint{API: "bulk", Index: "books", Type: "_doc"}},

		// Encoded segments are never words of the API.
		{v817, "GET /books/_doc/%5Fsearch", Endpoint{API: "get", Index: "books", ID: "_search"}},
		{v717, "GET /books/_doc/%5Fsearch", Endpoint{API: "get", Index: "books", ID: "_search"}},
		{v56, "GET /a%2Cb/t/http%3A%2F%2Fx%2Fy", Endpoint{API: "get", Index: "a,b", Type: "t", ID: "http://x/y"}},
		{v817, "GET /%3Clogs-%7Bnow%2Fd%7D%3E/_search", Endpoint{API: "search", Index: "<logs-{now/d}>"}},
		{v817, "GET /books/_doc/%zz", Endpoint{}},
		{v68, "GET /books/t/a+b%2B", Endpoint{API: "get", Index: "books", Type: "t", ID: "a b+"}},
		{V(7, 3), "GET /books/_doc/a+b", Endpoint{API: "get", Index: "books", ID: "a b"}},
		{V(7, 4), "GET /books/_doc/a+b", Endpoint{API: "get", Index: "books", ID: "a+b"}},

		// Slashes.
		{v817, "GET /", Endpoint{API: "info"}},
		{v817, "HEAD /", Endpoint{API: "ping"}},
		{v817, "GET ///", Endpoint{API: "info"}},
		{v817, "GET /books/", Endpoint{API: "indices.get", Index: "books"}},
		{v817, "POST /books/_doc//", Endpoint{API: "index", Index: "books"}},
		{v817, "PUT /books/_doc/", Endpoint{}},
		{v68, "GET /books//_search", Endpoint{API: "search", Index: "books"}},
		{v817, "GET /books//_search", Endpoint{}},
		{v817, "POST //_bulk", Endpoint{API: "bulk"}},
		{v68, "POST /books/book//_update", Endpoint{}},
		{v56, "POST //book", Endpoint{}},
		{v817, "GET ", Endpoint{}},
		{v817, "GET books", Endpoint{}},
		{v817, "GET " + strings.Repeat("/x", 40), Endpoint{}},

		// Unknown.
		{v817, "OPTIONS /books", Endpoint{}},
		{v817, "PATCH /books/_doc/1", Endpoint{}},
		{v817, "GET /_plugin", Endpoint{}},
		{v717, "POST /_plugin/thing/go", Endpoint{}},
		{v56, "GET /_plugin/thing", Endpoint{}},
		{v717, "GET /_all", Endpoint{API: "indices.get", Index: "_all"}},
		{v717, "GET /_all,-x/_search", Endpoint{API: "search", Index: "_all,-x"}},
		{v717, "GET /_alles/_search", Endpoint{}},
		{V(4, 0), "GET /books/_search", Endpoint{}},
		{Version{}, "GET /books/_search", Endpoint{}},
		{V(11, 0), "GET /books/_search", Endpoint{}},

		{v717, "GET /_nodes/hotthreads", Endpoint{API: "nodes.hot_threads"}},
		{v817, "GET /_nodes/hotthreads", Endpoint{}},
		{v56, "POST /books/_mapping", Endpoint{API: "indices.put_mapping", Index: "books"}},

		// Minors.
		{V(7, 9), "POST /books/_pit", Endpoint{API: "index", Index: "books", Type: "_pit"}},
		{V(7, 10), "POST /books/_pit", Endpoint{API: "open_point_in_time", Index: "books"}},
		{V(6, 0), "PUT /books/_split/b", Endpoint{API: "index", Index: "books", Type: "_split", ID: "b"}},
		{V(6, 1), "PUT /books/_split/b", Endpoint{API: "indices.split", Index: "books", Target: "b"}},

		// Other parts.
		{v817, "POST /logs/_rollover/logs-2", Endpoint{API: "indices.rollover", Alias: "logs", Target: "logs-2"}},
		{v817, "GET /_nodes/http", Endpoint{API: "nodes.info", NodeID: "http"}},
		{v817, "GET /_nodes/_all/http", Endpoint{API: "nodes.info", NodeID: "_all", Metric: "http"}},
		{v817, "GET /_nodes/n1/stats/indices/docs", Endpoint{API: "nodes.stats", NodeID: "n1", Metric: "indices", IndexMetric: "docs"}},
		{v817, "GET /maps/_mvt/geo/3/1/2", Endpoint{API: "search_mvt", Index: "maps", Field: "geo", Zoom: "3", X: "1", Y: "2"}},
		{v56, "PUT /_scripts/painless/s", Endpoint{API: "put_script", Lang: "painless", ID: "s"}},
		{v68, "PUT /_scripts/s/score", Endpoint{API: "put_script", ID: "s", Context: "score"}},
		{v68, "POST /_scripts/painless/_execute", Endpoint{API: "scripts_painless_execute"}},
		{v68, "GET /_xpack/license", Endpoint{API: "license.get"}},
		{v817, "GET /_license", Endpoint{API: "license.get"}},
		{v717, "DELETE /_search/scroll/abc%3D%3D", Endpoint{API: "clear_scroll", ScrollID: "abc=="}},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		test.want.Method, test.want.Path = method, path
		if got := ParseEndpoint(method, path, test.version); got != test.want {
			t.Errorf("%s, %s:\n got %+v\nwant %+v", test.version.Short(), test.request, got, test.want)
		}
	}
}

// As 6.8.23, 7.17.28 and 8.7.1 list them.
func TestMethods(t *testing.T) {
	for _, test := range []struct {
		version Version
		path    string
		want    string
	}{
		{v68, "/_cat/health", "GET"},
		{v817, "/_cat/health", "GET"},
		{v68, "/cats/_no_such_api", "POST"},
		{v717, "/cats/_no_such_api", "POST"},
		{v817, "/cats/_no_such_api", "POST"}, // of requests with compatible-with=7
		{v817, "/_cluster/nothing", "POST"},
		{v717, "/cats/_search", "GET POST"},
		{v717, "/_nothing/here/and/there", ""},
		{v717, "/_nodes/x/y/z/u/v", ""},
		{v817, "/a/b/c", "GET HEAD POST PUT DELETE"},
		{v717, "/", "GET HEAD DELETE"},
		{v717, "", ""},
	} {
		if got := strings.Join(Methods(test.path, test.version), " "); got != test.want {
			t.Errorf("%s at %s: %q, want %q", test.path, test.version, got, test.want)
		}
	}
}

func TestRequestFor(t *testing.T) {
	for _, test := range []struct {
		version  Version
		endpoint Endpoint
		want     string // empty if the version has no such request
	}{
		{v56, Endpoint{API: "create", Method: "PUT", Index: "i", Type: "t", ID: "1"}, "PUT /i/t/1/_create"},
		{v68, Endpoint{API: "create", Method: "PUT", Index: "i", ID: "1"}, ""},
		{v717, Endpoint{API: "create", Method: "PUT", Index: "i", ID: "1"}, "PUT /i/_create/1"},
		{v817, Endpoint{API: "create", Method: "PUT", Index: "i", Type: "t", ID: "1"}, ""},
		{v717, Endpoint{API: "index", Method: "POST", Index: "i"}, "POST /i/_doc"},
		{v68, Endpoint{API: "update", Method: "POST", Index: "i", Type: "_doc", ID: "1"}, "POST /i/_doc/1/_update"},
		{v717, Endpoint{API: "update", Method: "POST", Index: "i", ID: "1"}, "POST /i/_update/1"},
		{v56, Endpoint{API: "search", Method: "GET"}, "GET /_search"},
		{v56, Endpoint{API: "search", Method: "GET", Index: "i"}, "GET /i/_search"},
		{v56, Endpoint{API: "search", Method: "GET", Index: "i", Type: "t"}, "GET /i/t/_search"},
		{v817, Endpoint{API: "get", Method: "GET", Index: "<logs-{now/d}>", ID: "a/b c+d%ü"}, "GET /%3Clogs-%7Bnow%2Fd%7D%3E/_doc/a%2Fb%20c%2Bd%25%C3%BC"},
		{v817, Endpoint{API: "get", Method: "GET", Index: "a*,-b", ID: ".."}, "GET /a*,-b/_doc/%2E%2E"},

		// Parts that look like words of the API.
		{v717, Endpoint{API: "get", Method: "GET", Index: "i", ID: "_search"}, "GET /i/_doc/%5Fsearch"},
		{v817, Endpoint{API: "get", Method: "GET", Index: "i", ID: "_search"}, "GET /i/_doc/_search"},
		{v817, Endpoint{API: "get", Method: "GET", Index: "i", ID: "_5hGx"}, "GET /i/_doc/_5hGx"},
		{v717, Endpoint{API: "search", Method: "GET", Index: "i", Type: "_doc"}, "GET /i/_doc/_search"},
		{v717, Endpoint{API: "index", Method: "PUT", Index: "i", Type: "_doc", ID: "1"}, "PUT /i/%5Fdoc/1"},
		{v717, Endpoint{API: "nodes.info", Method: "GET", NodeID: "stats"}, "GET /_nodes/%73tats"},
		{v717, Endpoint{API: "indices.put_mapping", Method: "PUT", Index: "i", Type: "_doc"}, "PUT /i/_mapping/_doc"},

		// The method changes where it has to.
		{v68, Endpoint{API: "indices.clear_cache", Method: "GET", Index: "i"}, "GET /i/_cache/clear"},
		{v717, Endpoint{API: "indices.clear_cache", Method: "GET", Index: "i"}, "POST /i/_cache/clear"},
		{v56, Endpoint{API: "indices.put_alias", Method: "POST", Index: "i", Name: "a"}, "POST /i/_alias/a"},
		{v817, Endpoint{API: "info", Method: "GET"}, "GET /"},

		// X-Pack moved.
		{v68, Endpoint{API: "sql.query", Method: "POST"}, "POST /_xpack/sql"},
		{v717, Endpoint{API: "sql.query", Method: "POST"}, "POST /_sql"},
		{v717, Endpoint{API: "transform.get_transform", Method: "GET", ID: "x"}, "GET /_transform/x"},
		{V(7, 2), Endpoint{API: "transform.get_transform", Method: "GET", ID: "x"}, "GET /_data_frame/transforms/x"},

		{v56, Endpoint{API: "open_point_in_time", Method: "POST", Index: "i"}, ""},
		{v56, Endpoint{API: "indices.get", Method: "GET", Index: "i", Feature: "_settings,_mappings"}, "GET /i/_settings,_mappings"},
		{v817, Endpoint{API: "indices.get", Method: "GET", Index: "i", Feature: "_settings,_mappings"}, ""},
		{v817, Endpoint{Method: "GET", Path: "/_plugin//x%2F/"}, "GET /_plugin//x%2F/"},
		{V(3, 0), Endpoint{API: "info", Method: "GET"}, ""},
	} {
		method, path, ok := test.endpoint.RequestFor(test.version)
		if got := strings.TrimSpace(method + " " + path); got != test.want || ok != (test.want != "") {
			t.Errorf("%s, %+v: got %q, %v, want %q", test.version.Short(), test.endpoint, got, ok, test.want)
		}
	}
}

// notAsListed are requests at which the table and testdata/endpoints.txt differ.
var notAsListed = map[string]string{
	"6.8 POST /{index}/_freeze":   "the list has it from 7.x on; indices could be frozen since 6.6",
	"6.8 POST /{index}/_unfreeze": "as _freeze",
	"5.6 GET /_xpack":             "the list leaves the X-Pack plugin of 5.x out",
	"5.6 GET /_xpack/usage":       "as /_xpack",

	"7.17 POST /_security/delegate_pki":      "left out of the 7.17 specification, but in the server since 7.4",
	"7.17 POST /_security/oidc/authenticate": "as delegate_pki, since 7.0",
	"7.17 POST /_security/oidc/logout":       "as delegate_pki, since 7.0",
	"7.17 POST /_security/oidc/prepare":      "as delegate_pki, since 7.0",
}

// TestTableIsComplete compares the table with testdata/endpoints.txt: a listed
// request must reach a route of its own shape, one that the list denies must
// not.
func TestTableIsComplete(t *testing.T) {
	text, err := os.ReadFile("testdata/endpoints.txt")
	if err != nil {
		t.Fatal(err)
	}
	versions := []Version{v56, v68, v717, v817}
	unused := map[string]bool{}
	for key := range notAsListed {
		unused[key] = true
	}
	listed := map[string]bool{} // version and shape
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 1+len(versions) {
			t.Fatalf("not a path and %d cells: %s", len(versions), line)
		}
		for i, v := range versions {
			listed[v.Short()+shape(f[0])] = true
			for verb, method := range verbs {
				want := strings.Contains(","+f[1+i]+",", ","+method+",")
				key := v.Short() + " " + method + " " + f[0]
				if _, known := notAsListed[key]; known {
					delete(unused, key)
					want = !want
				}
				segments, _ := split(samplePath(f[0]), nil)
				r := dialectOf(v).match(verb, segments)
				if got := r != nil && shape(r.path) == shape(f[0]); got != want {
					t.Errorf("%s: in the table %v, listed %v", key, got, want)
				}
			}
		}
	}
	for key := range unused {
		t.Errorf("%s is an exception that nothing needs", key)
	}
	for _, v := range versions {
		for _, r := range table() {
			if r.in(v) && !listed[v.Short()+shape(r.path)] {
				t.Errorf("%s: %s is in the table, not in the list", v.Short(), r.path)
			}
		}
	}
}

// shape is a path without the names of its variables.
func shape(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

// samplePath fills the variables of a path.
func samplePath(path string) string {
	return strings.NewReplacer("{", "x", "}", "x").Replace(path)
}

func TestNoRouteHidesAnother(t *testing.T) {
	for _, v := range allMinors() {
		seen := map[string]*route{}
		for _, r := range table() {
			if !r.in(v) {
				continue
			}
			for verb := range verbs {
				if r.verbs&(1<<verb) == 0 {
					continue
				}
				key := verbs[verb] + shape(r.path)
				if o := seen[key]; o != nil {
					t.Errorf("%s: %s %s is %s and %s", v.Short(), verbs[verb], r.path, o.api, r.api)
				}
				seen[key] = r
			}
		}
	}
}

func allMinors() []Version {
	var all []Version
	for major, last := range map[int]int{5: 6, 6: 8, 7: 17, 8: 17} {
		for minor := 0; minor <= last; minor++ {
			all = append(all, V(major, minor))
		}
	}
	return all
}

// TestPathsReadBack writes random endpoints for every version and reads them
// again.
func TestPathsReadBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, v := range allMinors() {
		for _, r := range table() {
			if !r.in(v) {
				continue
			}
			for range 2 {
				e := randomEndpoint(random, r)
				method, path, ok := e.RequestFor(v)
				if !ok || method != e.Method {
					t.Fatalf("%s: %+v gives %s %s, %v", v.Short(), e, method, path, ok)
				}
				e.Path = path
				if got := ParseEndpoint(method, path, v); got != e {
					t.Fatalf("%s: %s %s\n got %+v\nwant %+v", v.Short(), method, path, got, e)
				}
			}
		}
	}
}

func randomEndpoint(random *rand.Rand, r *route) Endpoint {
	e := Endpoint{API: r.api}
	for {
		verb := random.IntN(len(verbs))
		if r.verbs&(1<<verb) != 0 {
			e.Method = verbs[verb]
			break
		}
	}
	values := []string{"books", "a,b*", "ü/ß", "a b+c", "%41", "..", ".", "*", "<l-{now/d}>", "?&#", "\xff\x00", "stats", "scroll", "x/_doc"}
	words := []string{"_search", "_doc", "_all", "_update", "_mapping", "_source", "_5xY-", "_"}
	for _, s := range r.segments {
		if s.part == literal {
			continue
		}
		from := values
		if s.part != partIndex && s.part != partAlias && random.IntN(3) == 0 {
			from = words
		}
		*e.part(s.part) = from[random.IntN(len(from))]
	}
	return e
}

func FuzzParseEndpoint(f *testing.F) {
	f.Add("GET", "/books/_doc/1", 7, 17)
	f.Add("POST", "//%zz/_x", 5, 6)
	f.Add("PUT", "/a/b/c/d/e", 8, 1)
	f.Fuzz(func(t *testing.T, method, path string, major, minor int) {
		v := V(major, minor)
		e := ParseEndpoint(method, path, v)
		if e.Path != path || e.Method != method {
			t.Fatalf("%s %s became %s %s", method, path, e.Method, e.Path)
		}
		if e.API == "" {
			return
		}
		method, path, ok := e.RequestFor(v)
		if !ok {
			t.Fatalf("%+v cannot be written", e)
		}
		e.Path = path
		if got := ParseEndpoint(method, path, v); got != e {
			t.Fatalf("%s %s\n got %+v\nwant %+v", method, path, got, e)
		}
	})
}

func TestParseEndpointDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ParseEndpoint("POST", "/books/_doc/_search", v717) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseEndpoint(b *testing.B) {
	for _, path := range []string{"/_bulk", "/books/_doc/1", "/books/_search"} {
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ParseEndpoint("POST", path, v817)
			}
		})
	}
}

func BenchmarkPathFor(b *testing.B) {
	e := Endpoint{API: "index", Method: "PUT", Index: "books", ID: "1"}
	b.ReportAllocs()
	for b.Loop() {
		e.PathFor(v817)
	}
}

func TestValidTypeName(t *testing.T) {
	for _, test := range []struct {
		name    string
		version Version
		want    bool
	}{
		{"book", v56, true}, {"_doc", v56, false}, {"_doc", V(6, 1), false}, {"_doc", V(6, 2), true},
		{"_update", v717, false}, {"a,b", v56, false}, {"", v56, false}, {".x", v56, false}, {"_all", v68, false},
	} {
		if got := ValidTypeName(test.name, test.version); got != test.want {
			t.Errorf("%q in %s: %v", test.name, test.version.Short(), got)
		}
	}
}
