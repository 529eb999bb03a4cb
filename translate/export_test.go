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
	x := s.exchange(ctx, esapi.ParseEndpoint(r.Method, r.Path, s.plan.client), r)
	x.trace = func(*Change, Place, []byte, []byte) {}
	return s.send(ctx, x, r)
}

// SparesItems reports whether no rule looks at what follows the last item of a bulk and is like it.
func (s *Sender) SparesItems(ctx context.Context, r *esapi.Request) (bool, error) {
	x := s.exchange(ctx, esapi.ParseEndpoint(r.Method, r.Path, s.plan.client), r)
	w := newWalker(x)
	defer w.end()
	out := newLinesOut(r.Body, false)
	err := s.linesTo(out, w, requestLines["bulk"])
	return out.like.sparesItems(), err
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

// SparedOn runs a rule on a node that has none of the members that it is for, and says what
// it has done; "" if that is nothing.
func SparedOn(r Rule, client, cluster Version, facts Facts, api, node string, inFilter bool) string {
	n := NewNode(node)
	for _, key := range r.Keys {
		if n.Has(key) {
			return ""
		}
	}
	return DoneOn(r, client, cluster, facts, api, node, inFilter)
}

// DoneOn runs a rule on a node in an exchange in which rules of members have much to do, and
// says what it has done.
func DoneOn(r Rule, client, cluster Version, facts Facts, api, node string, inFilter bool) string {
	asked := esapi.Endpoint{API: api, Method: "POST", Path: "/books/book/_search", Index: "books", Type: "book"}
	params := esapi.ParseParams("size=3&q=x&scroll=1m")
	x := &Exchange{Client: client, Cluster: cluster, Facts: facts, ctx: context.Background(), Asked: asked, Endpoint: asked, Params: &params,
		Header: http.Header{}, AnswerHeader: http.Header{}, request: PlanFor(client, cluster).request}
	x.Note("terminate_after was given", true) // as the catalogue does
	n := NewNode(node)
	n.filter = inFilter
	show := func() string {
		return fmt.Sprintf("%s %d %+v %v %v %v %v %v", n.bytes(), n.edits, x.Endpoint, x.marks(), x.Params.Encode(), x.notes, x.err, x.types)
	}
	before := show()
	if err := r.Do(x, n); err != nil {
		return err.Error()
	}
	if after := show(); after != before {
		return before + " has become " + after
	}
	return ""
}
