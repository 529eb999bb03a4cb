package gather

import (
	"net/http"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// From 8.15 on a bulk that is refused may have been carried out in part: what must not be
// done twice is not sent again.
func TestRefusedInPart(t *testing.T) {
	requests := map[string]*esapi.Request{
		"new":    esapi.NewRequest("POST", "/books/_doc", []byte(`{"n":1}`)),
		"index":  esapi.NewRequest("PUT", "/books/_doc/1", []byte(`{"n":1}`)),
		"create": esapi.NewRequest("PUT", "/books/_create/2", []byte(`{"n":1}`)),
		"update": esapi.NewRequest("POST", "/books/_update/3", []byte(`{"script":"ctx._source.n++"}`)),
		"delete": esapi.NewRequest("DELETE", "/books/_doc/4", nil),
	}
	for version, twice := range map[esapi.Version]bool{esapi.V(8, 14): true, esapi.V(8, 15): false, esapi.V(9, 0): false} {
		t.Run(version.String(), func(t *testing.T) {
			run(t, func(r *rig) {
				r.to.Version = version
				a, b := r.plugs()
				for name, req := range requests {
					if len(req.Body) > 0 {
						req.Header = http.Header{"Content-Type": {"application/json"}}
					}
					r.start(r.t.Context(), r.to, name, req)
				}
				a.done()
				r.next().answer(esapi.NewResponse(400, []byte(`{"error":"of the bulk"}`)), nil)
				again := 2
				if twice {
					again = len(requests)
				}
				for range again {
					f := r.next()
					if f.Path != "/books/_doc/1" && f.Path != "/books/_doc/4" && !twice {
						t.Errorf("%s %s was sent again", f.Method, f.Path)
					}
					f.answer(esapi.NewResponse(200, []byte(`{}`)), nil)
				}
				r.quiet()
				for name, out := range r.all() {
					again := twice || name == "index" || name == "delete" || name == "plug1"
					if again != (out.err == nil) {
						t.Errorf("%s: %+v", name, out)
					}
				}
				b.done()
			})
		})
	}
}

// A body for which a bulk would be refused as a whole is sent alone.
func TestBodiesThatABulkCannotHave(t *testing.T) {
	for body, want := range map[string]bool{
		`{"doc":{"a":1,"b":{"a":1}}}`:                 true,
		`{"doc":{"a":[{"a":1},{"a":2}]}}`:             true,
		`{"doc":{"a":1,"a":2}}`:                       false,
		`{"doc":{"b":[{"a":1,"\u0061":2}]}}`:          false,
		`{"upsert":{"b":{"a":1,"a":2}},"script":"x"}`: false,
		`{"script":{"source":"x","params":{"a":{}}}}`: true,
		`{"script":{"source":"x","source":"y"}}`:      false,
		"{\"doc\":{\"a\":\"\xff\"}}":                  false,
		"{\"doc\":{\"a\":\"\u00e4\"}}":                true,
	} {
		if got := fits(&write{op: opUpdate}, []byte(body)); got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
	if fits(&write{op: opIndex}, []byte("{\"a\":\"\xff\"}")) || !fits(&write{op: opIndex}, []byte(`{"a":1,"a":2}`)) {
		t.Error("an index is refused for its own, unless its text is none")
	}
}
