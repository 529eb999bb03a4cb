package catalogue_test

import (
	"context"
	"io"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	"github.com/esperanto-es/esperanto/translate/catalogue"
)

// A page that another gateway has given is followed by the scroll's next; the
// size may be a text, as Elasticsearch takes it.
func TestPagesOfPointInTimeFromAnotherGateway(t *testing.T) {
	const page = `{"_scroll_id":"elsewhere","took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"total":9,"max_score":null,"hits":[
		{"_index":"b","_type":"_doc","_id":"x","_score":null,"sort":[1]},{"_index":"b","_type":"_doc","_id":"y","_score":null,"sort":[2]}]}}`
	stub := &stubCluster{t: t, answers: []part{
		{head: "200", body: `{"_shards":{"total":1}}`}, {head: "200", body: page}, {head: "200", body: page}, {head: "200", body: page},
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
	search := `{"pit":{"id":` + id + `},"size":"2","sort":["n"]`
	last := ask("/_search", search+"}").Get("hits.hits.1.sort").Raw
	last = ask("/_search", search+`,"search_after":`+last+"}").Get("hits.hits.1.sort").Raw
	catalogue.ReachedAnotherPage("elsewhere", 2) // as far as this gateway knows
	ask("/_search", search+`,"search_after":`+last+"}")
	for i, want := range []string{"POST /b/_search?scroll=1m", "POST /_search/scroll", "POST /_search/scroll"} {
		if got := stub.sent[i+1].head; got != want {
			t.Errorf("page %d is asked for by %s, not by %s", i+1, got, want)
		}
	}
}
