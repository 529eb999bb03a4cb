package catalogue_test

import (
	"context"
	"io"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// A client whose answer was lost asks for the same page again. The scroll has
// moved on, so the page must not be its next one.
func TestPageOfPointInTimeIsAskedForTwice(t *testing.T) {
	const page = `{"_scroll_id":"twice","took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"total":9,"max_score":null,"hits":[
		{"_index":"b","_type":"_doc","_id":"x","_score":null,"sort":[1]},{"_index":"b","_type":"_doc","_id":"y","_score":null,"sort":[2]}]}}`
	const ok = "200"
	stub := &stubCluster{t: t, answers: []part{
		{head: ok, body: `{"_shards":{"total":1}}`}, {head: ok, body: page}, {head: ok, body: page}, {head: ok, body: page},
	}}
	sender := translate.NewSender(esapi.V(8, 7), esapi.V(6, 8), newFakeFacts(), stub)
	ask := func(target, request string) gjson.Result {
		t.Helper()
		a, err := sender.Send(context.Background(), esapi.NewRequest("POST", target, []byte(request)))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return gjson.ParseBytes(body)
	}
	id := ask("/b/_pit?keep_alive=1m", "").Get("id").Raw
	search := `{"pit":{"id":` + id + `},"size":2,"sort":["n"]`
	last := ask("/_search", search+"}").Get("hits.hits.1.sort").Raw
	next := search + `,"search_after":` + last + "}"
	ask("/_search", next)
	ask("/_search", next)
	if got := stub.sent[2].head; got != "POST /_search/scroll" {
		t.Errorf("the second page is asked for by %s", got)
	}
	if got := stub.sent[3]; got.head != "POST /b/_search" || gjson.Get(got.body, "from").Int() != 2 {
		t.Errorf("the second page once more is asked for by %s %s", got.head, got.body)
	}
}
