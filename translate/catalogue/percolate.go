package catalogue

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// The percolator's endpoints of 5.x. They are searches with a percolate query on
// the field query, which is what 5.x makes of them, too.

func init() {
	translate.Register(&Change{
		ID: "OTH-06", Name: "PercolateBecameAQuery", Since: V(6, 0),
		Doc: "_percolate, _percolate/count and _mpercolate are gone: a search with a percolate query does the same.",
		OldClient: Direction{Fidelity: translate.Lossy, Loses: "percolate_index and other options beside query, filter, size, sort, highlight and track_scores are refused",
			Request: []Rule{
				onAPIs(translate.RequestHead, []string{"percolate", "count_percolate", "mpercolate"}, percolateHead),
				at(translate.SearchBody, percolateBody),
				at(translate.MsearchHeader, percolateHeader),
			}},
		NewClient: nothing,
	})
}

// A percolation is what is asked of one document.
type percolation struct {
	index, docType, id, routing string

	count, ids bool
}

const (
	percolationNote  = "percolation"
	percolationsNote = "percolations"
)

// refusedPercolation are parameters that a search has no words for.
var refusedPercolation = []string{"percolate_index", "percolate_type", "percolate_routing", "percolate_preference"}

func percolateHead(x *Exchange, _ *Node) error {
	switch x.Asked.API {
	case "count_percolate", "percolate":
	case "mpercolate":
		x.Note(percolationsNote, &[]*percolation{})
		x.Endpoint.API, x.Endpoint.Type = "msearch", ""
		x.Header.Set("Content-Type", "application/x-ndjson")
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			return mpercolate(ctx, x, r, next)
		})
		return nil
	default:
		return nil
	}
	p := &percolation{index: x.Asked.Index, docType: x.Asked.Type, id: x.Asked.ID, count: x.Asked.API == "count_percolate"}
	for _, name := range refusedPercolation {
		if x.Params.Has(name) {
			return x.Refuse("the parameter %s of _percolate", name)
		}
	}
	p.ids = x.Params.Get("percolate_format") == "ids"
	p.routing = x.Params.Get("routing")
	for _, name := range []string{"percolate_format", "version", "version_type"} {
		x.Params.Drop(name)
	}
	x.Note(percolationNote, p)
	x.Endpoint.API, x.Endpoint.Type, x.Endpoint.ID, x.Endpoint.Method = "search", "", "", http.MethodPost
	if len(x.RequestBody) == 0 {
		x.RequestBody = []byte("{}")
		x.Header.Set("Content-Type", "application/json")
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, err := next.Send(ctx, r)
		if err != nil || a.Status >= 400 {
			return a, err
		}
		body, err := readAll(a)
		if err != nil {
			return nil, err
		}
		return esapi.NewResponse(http.StatusOK, []byte(p.answer(gjson.ParseBytes(body)))), nil
	})
	return nil
}

// percolateBody makes the body of a search.
func percolateBody(x *Exchange, n *Node) error {
	p, ok := x.Noted(percolationNote).(*percolation)
	if !ok || !isSearchRoot(n) {
		return nil
	}
	var query object
	query.set("field", `"query"`)
	doc := n.Get("doc")
	n.Drop("doc")
	switch {
	case p.id != "":
		query.set("index", translate.Quote(p.index))
		query.set("type", translate.Quote(p.docType))
		query.set("id", translate.Quote(p.id))
		if p.routing != "" {
			query.set("routing", translate.Quote(p.routing))
		}
	case doc.IsObject():
		query.set("document_type", translate.Quote(p.docType))
		query.set("document", doc.Raw)
	default:
		return esapi.IllegalArgument("Nothing to percolate: the body has no doc")
	}
	filters := `{"percolate":` + query.String() + `}`
	if f := n.Get("filter"); f.Exists() {
		filters += "," + f.Raw
		n.Drop("filter")
	}
	must := ""
	if q := n.Get("query"); q.Exists() {
		must = `"must":[` + q.Raw + `],`
	}
	n.Set("query", `{"bool":{`+must+`"filter":[`+filters+`]}}`)
	n.Set("_source", "false")
	if p.count {
		n.Set("size", "0")
	}
	return nil
}

// percolateHeader reads the header of one document of an mpercolate.
func percolateHeader(x *Exchange, n *Node) error {
	all, ok := x.Noted(percolationsNote).(*[]*percolation)
	if !ok {
		return nil
	}
	p := &percolation{index: x.Asked.Index, docType: x.Asked.Type}
	keys := n.Keys()
	if len(keys) != 1 || keys[0] != "percolate" && keys[0] != "count" {
		return esapi.IllegalArgument("[percolate] or [count] is expected in the header of an mpercolate")
	}
	p.count = keys[0] == "count"
	h := n.Get(keys[0])
	for _, m := range []struct {
		key string
		to  *string
	}{{"indices", &p.index}, {"index", &p.index}, {"types", &p.docType}, {"type", &p.docType}, {"id", &p.id}, {"routing", &p.routing}} {
		if v := h.Get(m.key); v.Exists() {
			*m.to = v.String()
		}
	}
	p.ids = h.Get("percolate_format").String() == "ids"
	*all = append(*all, p)
	x.Note(percolationNote, p)
	var header object
	header.set("index", translate.Quote(p.index))
	for _, key := range []string{"routing", "preference"} {
		if v := h.Get(key); v.Exists() {
			header.set(key, v.Raw)
		}
	}
	n.Replace(header.String())
	return nil
}

func mpercolate(ctx context.Context, x *Exchange, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, err := next.Send(ctx, r)
	if err != nil || a.Status >= 400 {
		return a, err
	}
	body, err := readAll(a)
	if err != nil {
		return nil, err
	}
	all := *x.Noted(percolationsNote).(*[]*percolation)
	var answers []string
	for i, found := range gjson.GetBytes(body, "responses").Array() {
		if found.Get("error").Exists() || i >= len(all) {
			answers = append(answers, `{"error":`+found.Get("error").Raw+`}`)
			continue
		}
		answers = append(answers, all[i].answer(found))
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"responses":[`+strings.Join(answers, ",")+`]}`)), nil
}

// answer is what 5.x tells of a percolation.
func (p *percolation) answer(found gjson.Result) string {
	total := found.Get("hits.total")
	if total.IsObject() {
		total = total.Get("value")
	}
	s := fmt.Sprintf(`{"took":%d,"_shards":%s,"total":%d`, found.Get("took").Int(), shardsOf(found), total.Int())
	if p.count {
		return s + "}"
	}
	var matches []string
	for _, hit := range found.Get("hits.hits").Array() {
		if p.ids {
			matches = append(matches, hit.Get("_id").Raw)
			continue
		}
		var m object
		m.set("_index", hit.Get("_index").Raw)
		m.set("_id", hit.Get("_id").Raw)
		for _, key := range []string{"_score", "highlight"} {
			if v := hit.Get(key); v.Exists() && v.Type != gjson.Null && (key != "_score" || v.Float() != 0) {
				m.set(key, v.Raw)
			}
		}
		matches = append(matches, m.String())
	}
	return s + `,"matches":[` + strings.Join(matches, ",") + `]}`
}
