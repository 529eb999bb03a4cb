package catalogue

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Delete by query, update by query and reindex.

var byQueryAPIs = []string{"delete_by_query", "update_by_query"}

func init() {
	translate.Register(
		&Change{
			ID: "BYQ-02", Name: "SizeInABodyBecameThatOfABatch", Since: V(6, 0),
			// Real clusters, not the documentation: 6.8 and 7.10 change all documents
			// of {"size":3}, in batches of three.
			Doc: "size in the body of a delete or update by query was how many documents are changed at most; it is how many are in a batch, as scroll_size.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{byQueryBody(func(x *Exchange, n *Node) {
				size := n.Get("size")
				if !n.Drop("size") || size.Raw == "-1" { // all (BYQ-14)
					return
				}
				most := "size"
				if x.Cluster.AtLeast(V(7, 3)) {
					most = "max_docs"
				}
				if !x.Params.Has(most) {
					x.Params.Set(most, size.Raw)
				}
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{byQueryBody(func(x *Exchange, n *Node) {
				size := n.Get("size")
				if n.Drop("size") && !x.Params.Has("scroll_size") {
					x.Params.Set("scroll_size", size.Raw)
				}
			})}},
		},
		&Change{
			ID: "BYQ-02", Name: "SizeBecameMaxDocs", Since: V(7, 3), Removed: V(8, 0),
			Doc: "How many documents are changed at most is max_docs, in the URL or the body; it was size in the URL.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				onAPIs(translate.RequestHead, byQueryAPIs, func(x *Exchange, _ *Node) error {
					if onAPI(x, byQueryAPIs) && x.Params.Has("size") {
						if x.Params.Get("size") == "-1" { // all (BYQ-14)
							x.Params.Drop("size")
						}
						x.Params.Rename("size", "max_docs")
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				byQueryBody(func(x *Exchange, n *Node) {
					most := n.Get("max_docs")
					if n.Drop("max_docs") {
						x.Params.Set("size", most.Raw)
					}
				}),
				renameParam(byQueryAPIs, "max_docs", "size"),
			}},
		},
		&Change{
			ID: "BYQ-03", Name: "SizeOfReindexBecameMaxDocs", Since: V(7, 3), Removed: V(8, 0),
			Doc: "How many documents a reindex copies at most is max_docs; it was size. The size in source is that of a batch.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ReindexBody, func(_ *Exchange, n *Node) error {
				dropAllDocs(n)
				n.Rename("size", "max_docs")
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				rename(translate.ReindexBody, "max_docs", "size"), renameParam([]string{"reindex"}, "max_docs", "size"),
			}},
		},
		&Change{
			ID: "BYQ-04", Name: "DeleteByQueryNeedsAQuery", Since: V(6, 0),
			Doc: "A delete by query without a query is refused; it deleted everything.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if isDeleteByQuery(x) && isSearchRoot(n) && (!n.Has("query") || isEmptyObject(n.Get("query"))) {
						n.Set("query", `{"match_all":{}}`)
					}
					return nil
				}),
				onAPIs(translate.RequestEnd, []string{"delete_by_query"}, func(x *Exchange, _ *Node) error {
					if isDeleteByQuery(x) && len(bytes.TrimSpace(x.RequestBody)) == 0 && !x.Params.Has("q") {
						x.RequestBody = []byte(`{"query":{"match_all":{}}}`)
						x.Header.Set("Content-Type", "application/json")
						x.Edited()
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.RequestEnd, func(x *Exchange, _ *Node) error {
				if isDeleteByQuery(x) && !gjson.GetBytes(x.RequestBody, "query").Exists() && !x.Params.Has("q") && !x.Params.Has("source") {
					return esapi.ValidationFailed("query is missing")
				}
				return nil
			})}},
		},
		&Change{
			ID: "BYQ-05", Name: "ReindexLostItsTypes", Since: V(7, 0),
			Doc:       "source and dest of a reindex name indices, no types.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ReindexBody, reindexWithoutTypes)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.ReindexDest, func(x *Exchange, n *Node) error {
				if t := n.Get("type").String(); t == "" || t == "_doc" {
					n.SetString("type", x.ClusterType(n.Get("index").String()))
				}
				return nil
			}), drop(translate.ReindexSource, "type")}},
		},
		&Change{
			ID: "BYQ-05", Name: "ReindexRefusesTypes", Since: V(8, 0),
			Doc:       "source and dest of a reindex take no types.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.ReindexSource, "type"), drop(translate.ReindexDest, "type")}},
			NewClient: nothing,
		},
		&Change{
			ID: "BYQ-07", Name: "SlicesCanBeAuto", Since: V(6, 1),
			Doc:       "slices=auto lets the cluster choose how many slices work in parallel.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the work is done in one slice", Request: []Rule{withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
				if x.Params.Get("slices") == "auto" {
					x.Params.Set("slices", "1")
				}
				return nil
			})}},
		},
		&Change{
			ID: "BYQ-11", Name: "RemoteReindexGotHeaders", Since: V(7, 16),
			Doc:       "The remote cluster of a reindex can be given headers and an API key.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "headers and api_key of the remote cluster", Request: []Rule{at(translate.ReindexSource, func(x *Exchange, n *Node) error {
				if remote := n.Get("remote"); remote.Get("api_key").Exists() || remote.Get("headers").Exists() && x.Cluster.Before(V(7, 0)) {
					return x.Refuse("headers or api_key in the remote source of a reindex")
				}
				return nil
			})}},
		},
		&Change{
			ID: "BYQ-15", Name: "UnlimitedRequestsPerSecondWasRemoved", Since: V(6, 0),
			Doc: "requests_per_second=unlimited is written -1.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
				if x.Params.Get("requests_per_second") == "unlimited" {
					x.Params.Set("requests_per_second", "-1")
				}
				return nil
			})}},
			NewClient: nothing,
		},
	)
}

// byQueryBody makes the rule for the bodies of delete and update by query.
func byQueryBody(do func(*Exchange, *Node)) Rule {
	return at(translate.SearchBody, func(x *Exchange, n *Node) error {
		if onAPI(x, byQueryAPIs) && isSearchRoot(n) {
			do(x, n)
		}
		return nil
	})
}

// dropAllDocs drops the size -1, which means all (BYQ-14).
func dropAllDocs(n *Node) {
	if n.Get("size").Raw == "-1" {
		n.Drop("size")
	}
}

func isDeleteByQuery(x *Exchange) bool { return x.Asked.API == "delete_by_query" }

// reindexWithoutTypes drops the types of a reindex. A source of some types only
// is narrowed to the indices that have them.
func reindexWithoutTypes(x *Exchange, n *Node) error {
	source := n.Get("source")
	remote := source.Get("remote").Exists()
	indices := joined(source.Get("index"))
	if types := source.Get("type"); types.Exists() && !remote {
		if err := noteTypes(x, indices, strings.Split(joined(types), ",")); err != nil {
			return err
		}
		edit(n, "source", func(source *Node) {
			source.Drop("type")
			keepToTypes(x, source)
		})
	}
	dest := n.Get("dest")
	index, t := dest.Get("index").String(), dest.Get("type").String()
	if t == "" && !remote { // kept from the source
		var err error
		if t, _, err = knownType(x, indices); err != nil {
			return err
		}
	}
	known, _, err := knownType(x, index)
	if err != nil {
		return err
	}
	if known == "" {
		learnAfterwards(x, index, t)
	}
	edit(n, "dest", func(dest *Node) { dest.Drop("type") })
	return nil
}
