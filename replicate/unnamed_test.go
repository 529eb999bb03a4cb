package replicate

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// An action without an id gets one wherever the cluster would make one, and none where
// it is to refuse it.
func TestWhichActionsGetAnID(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	for line, want := range map[string]string{
		`{"index":{"version":null}}`:                               "new",
		`{"index":{"_version":null,"version_type":null}}`:          "new",
		`{"index":{"version":-3}}`:                                 "new",
		`{"index":{"version_type":"internal"}}`:                    "new",
		`{"index":{"_id":null,"version":null}}`:                    "new",
		`{"index":{"version":1}}`:                                  "",
		`{"index":{"version":1,"version":null}}`:                   "",
		`{"index":{"_version":1}}`:                                 "",
		`{"index":{"version_type":"external"}}`:                    "",
		`{"index":{"versionType":"external"}}`:                     "",
		`{"index":{"_id":"1","_id":null}}`:                         "1",
		`{"index":{"_id":null,"_id":"1"}}`:                         "1",
		`{"index":{"_id":"1","version":1,"version_type":"force"}}`: "1",
	} {
		req := esapi.NewRequest("POST", "/books/_bulk", []byte(line+"\n{}\n"))
		writes, err := (&capture{r: g.r}).readBulk(req, esapi.Endpoint{API: "bulk", Index: "books"}, new(room))
		if err != nil || len(writes) != 1 {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := writes[0].doc.ID
		if sent := string(req.Body); want != "new" && sent != line+"\n{}\n" || want == "new" && !strings.Contains(sent, got) {
			t.Errorf("%s became %s", line, sent)
		}
		if want == "new" && got != "" && got != "1" {
			got = "new"
		}
		if got != want {
			t.Errorf("%s has the id %q, want %q", line, got, want)
		}
	}
	for query, want := range map[string]bool{"version_type=internal": true, "version=-3": true, "version=1": false} {
		g.a.Faults(func(r *esapi.Request) estest.Fault {
			if strings.HasPrefix(r.Path, "/books/_doc") && (r.Path != "/books/_doc") != want {
				t.Errorf("%s: it went to %s", query, r.Path)
			}
			return estest.Fault{}
		})
		g.send("POST", "/books/_doc?"+query, `{}`)
	}
}

// A document that was written without an id that the gateway knows is not lost when it has
// to be read back: its index is resynced.
func TestDocumentsThatNobodyCanName(t *testing.T) {
	t.Parallel()
	g := newRig(t, v717, v87)
	g.must("PUT", "/books/_doc/1", `{"n":1}`)
	g.oddly(func(r *esapi.Request, status int, answer []byte) (int, []byte) {
		if r.Path == "/_bulk" {
			res, err := g.a.Send(t.Context(), esapi.NewRequest("PUT", "/books/_doc/made", []byte(`{"by":"the cluster"}`)))
			if err != nil || res.Status != 201 {
				t.Error(err)
			}
		}
		return status, answer
	})
	g.a.Faults(only("POST", "/_bulk", estest.Fault{Before: errors.New("the answer is lost")}))
	g.send("POST", "/_bulk", `{"index":{"_index":"books","version":1}}`+"\n{}\n"+`{"index":{"_index":"Bad","version":1}}`+"\n{}\n")
	g.a.Faults(nil)
	g.must("PUT", "/books/_doc/2", `{"n":2}`)
	g.drained()
	g.resynced()
	g.equal()
	g.noDeadLetters()
}

// The id of an action that says null of it, too, is not changed.
func TestAnIDBesideNull(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v56)
	var sent string
	g.a.Faults(func(r *esapi.Request) estest.Fault {
		if strings.HasSuffix(r.Path, "_bulk") {
			sent = string(r.Body)
		}
		return estest.Fault{}
	})
	g.send("POST", "/books/book/_bulk", `{"index":{"_id":"1","_id":null}}`+"\n{}\n")
	if gjson.Get(sent, "index._id").String() != "1" || strings.Count(sent, "_id") != 2 {
		t.Error(sent)
	}
}
