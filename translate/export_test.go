package translate

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// SendVisitingAll is Send with all lines of a bulk visited by the rules.
func (s *Sender) SendVisitingAll(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	x := s.exchange(ctx, r)
	x.trace = func(*Change, Place, []byte, []byte) {}
	return s.send(ctx, x, r)
}

// Spared runs a rule of a head for an API that it is not for, or in an exchange that does
// not meet its condition, and says what it has done there; "" if that is nothing.
func Spared(r Rule, client, cluster Version, facts Facts, api string, params esapi.Params, status int, types TypesSetting) string {
	header := http.Header{"Content-Type": {"application/json"}, "Location": {"/books/_doc/1"}}
	asked := esapi.Endpoint{API: api, Method: "POST", Path: "/books/book/1", Index: "books", Type: "book", ID: "1", Name: "a,bulk", NodeID: "n"}
	x := &Exchange{Client: client, Cluster: cluster, Facts: facts, ctx: context.Background(), Asked: asked, Endpoint: asked, Params: &params,
		AskedParams: params.Clone(), Header: maps.Clone(header), setting: types, RequestBody: []byte(`{"query":{}} x`), hasBody: true,
		request: PlanFor(client, cluster).request}
	if r.At == AnswerHead {
		x.Status, x.AnswerHeader = status, maps.Clone(header)
		x.answer = esapi.NewResponse(status, []byte(`{"error":{"type":"index_closed_exception","root_cause":[]},"failures":[{"type":"x"}]}`))
	}
	if isOn(r.On, api) && x.meets(r.If) {
		return ""
	}
	show := func() string {
		return fmt.Sprintf("%+v %v %v %v %v %v %q %q %v", x.Endpoint, x.marks(), x.Params.Encode(), x.Header, x.AnswerHeader, x.notes, x.Replacement, x.RequestBody, x.steps != nil)
	}
	before := show()
	if err := r.Do(x, &Node{}); err != nil {
		return err.Error()
	}
	if after := show(); after != before || x.err != nil {
		return before + " has become " + after
	}
	return ""
}
