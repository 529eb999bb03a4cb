package catalogue

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

func init() {
	translate.Register(&Change{
		ID: "TYPE-09", Name: "IDsAreNotSorted", Since: V(8, 0),
		Doc: "Hits are sorted by _id only if the cluster's setting indices.id_field_data.enabled says so. The gateway sorts by _id alone what has up to 10,000 hits.",
		OldClient: Direction{Fidelity: translate.Lossy, Loses: "sorts by _id of more than 10,000 hits, behind other fields, with collapse and with search_after: the cluster's error is shown",
			Request: []Rule{keyed(at(translate.SearchBody, func(x *Exchange, n *Node) error {
				if x.Asked.API == "search" && isSearchRoot(n) && !x.Params.Has("scroll") && idOrder(n.Get("sort")) != 0 {
					x.Via(sortByID)
				}
				return nil
			}), "sort")}},
		NewClient: nothing,
	})
}

const (
	idsDisallowed = "Fielddata access on the _id field is disallowed"
	maxSortedHits = 10000 // of an index by default
)

// sortByID sorts the hits of a search that the cluster does not sort. It asks for
// all of them, in any order; if they are too many the cluster's error stands.
func sortByID(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, err := next.Send(ctx, r)
	if err != nil || a.Status != http.StatusBadRequest {
		return a, err
	}
	failure, err := readAll(a)
	if err != nil {
		return nil, err
	}
	refused := withBody(a, failure)
	search := translate.NewNode(string(r.Body))
	order := idOrder(search.Get("sort"))
	if !bytes.Contains(failure, []byte(idsDisallowed)) || order == 0 || search.Has("search_after") || search.Has("collapse") || r.Params.Has("sort") {
		return refused, nil
	}
	from, size := numberIn(r, search, "from", 0), numberIn(r, search, "size", 10)
	search.Set("sort", `["_doc"]`)
	search.Set("from", "0")
	search.Set("size", itoa(maxSortedHits))
	all := *r
	all.Params = r.Params.Clone()
	all.Params.Drop("from")
	all.Params.Drop("size")
	all.Body = []byte(search.Raw())
	a, err = next.Send(ctx, &all)
	if err != nil {
		return nil, err
	}
	body, err := readAll(a)
	if err != nil || a.Status != http.StatusOK {
		return refused, nil
	}
	hits := gjson.GetBytes(body, "hits.hits").Array()
	if len(hits) >= maxSortedHits {
		return refused, nil
	}
	slices.SortStableFunc(hits, func(a, b gjson.Result) int {
		return order * cmp.Compare(member(a, "_id").String(), member(b, "_id").String())
	})
	var page []byte
	for i := from; i < min(from+size, len(hits)); i++ {
		hit := translate.NewNode(hits[i].Raw)
		hit.Set("sort", "["+hit.Get("_id").Raw+"]")
		if page != nil {
			page = append(page, ',')
		}
		page = append(page, hit.Raw()...)
	}
	answer := translate.NewNode(string(body))
	edit(answer, "hits", func(h *Node) { h.Set("hits", "["+string(page)+"]") })
	return withBody(a, []byte(answer.Raw())), nil
}

// idOrder is 1 for a sort by _id alone that ascends, -1 for one that descends,
// and 0 for others.
func idOrder(sort gjson.Result) int {
	if sort.IsArray() {
		keys := sort.Array()
		if len(keys) != 1 {
			return 0
		}
		sort = keys[0]
	}
	order := member(sort, "_id")
	if uid := member(sort, "_uid"); uid.Exists() {
		order = uid // as older clients say
	}
	switch {
	case sort.Type == gjson.String && (sort.Str == "_id" || sort.Str == "_uid"):
		return 1
	case !order.Exists() || len(sort.Map()) != 1:
		return 0
	case order.IsObject():
		order = member(order, "order")
	}
	if order.String() == "desc" {
		return -1
	}
	return 1
}

// numberIn is a number of a search that the URL gives, or its body.
func numberIn(r *esapi.Request, search *Node, key string, otherwise int) int {
	text := orElse(r.Params.Get(key), search.Get(key).Raw)
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return n
	}
	return otherwise
}
