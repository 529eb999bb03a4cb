package catalogue

import (
	"bytes"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Scrolls.

func init() {
	translate.Register(
		&Change{
			ID: "SCR-01", Name: "ScrollIDsAsTextWereRemoved", Since: V(6, 0),
			Doc:       `The body of a scroll is {"scroll_id": …}; 5.x also takes the bare id, and ids with commas to clear scrolls.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, scrollAPIs, scrollTextToJSON)}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCR-03", Name: "ScrollIDsInPathsWereDeprecated", Since: V(7, 0),
			Doc:       "A scroll's id is given in the body: ids are longer than a path may be.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, scrollAPIs, scrollIDToBody)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, scrollAPIs, scrollIDToBody)}},
		},
		&Change{
			ID: "SCR-04", Name: "FromOfScrollsBecameAnError", Since: V(6, 0),
			Doc: "A search that opens a scroll takes no from; it was ignored.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Has("scroll") {
						x.Params.Drop("from")
					}
					return nil
				}),
				keyed(at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if x.Params.Has("scroll") && isSearchRoot(n) && isSearch(x) {
						n.Drop("from")
					}
					return nil
				}), "from"),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCR-04", Name: "EmptyScrollsBecameErrors", Since: V(6, 0),
			Doc: "A search that opens a scroll must ask for hits; with size 0 its pages were empty.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				onAPIs(translate.RequestHead, scrollAPIs, knowEmptyScroll),
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Get("size") == "0" && x.Params.Has("scroll") && isSearch(x) {
						x.Params.Set("size", "1")
						openEmptyScroll(x)
					}
					return nil
				}),
				keyed(at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if n.Get("size").Raw == "0" && x.Params.Has("scroll") && !x.AskedParams.Has("size") && isSearchRoot(n) && isSearch(x) {
						n.Set("size", "1")
						openEmptyScroll(x)
					}
					return nil
				}), "size"),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					return checkScroll(x, n.Get("size").Raw, n.Get("from").Raw)
				}),
				at(translate.RequestHead, func(x *Exchange, _ *Node) error {
					return checkScroll(x, x.Params.Get("size"), x.Params.Get("from"))
				}),
			}},
		},
		&Change{
			ID: "SCR-07", Name: "OpenScrollsWereLimited", Since: V(7, 0),
			Doc:       "A node keeps at most 500 scrolls open (search.max_open_scroll_context).",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "more scrolls: the cluster's error is shown"},
			NewClient: nothing,
		},
	)
}

// checkScroll answers as 6.x does to what opens a scroll.
func checkScroll(x *Exchange, size, from string) error {
	var problems []string
	if x.Asked.API != "search" || !x.Params.Has("scroll") {
		return nil
	}
	if from != "" && from != "0" && from != "-1" {
		problems = append(problems, "using [from] is not allowed in a scroll context")
	}
	if size == "0" {
		problems = append(problems, "[size] cannot be [0] in a scroll context")
	}
	if problems != nil {
		return esapi.ValidationFailed(problems...)
	}
	return nil
}

func isSearch(x *Exchange) bool { return x.Asked.API == "search" || x.Asked.API == "search_template" }

var scrollAPIs = []string{"scroll", "clear_scroll"}

func isScroll(x *Exchange) bool { return x.Asked.API == "scroll" || x.Asked.API == "clear_scroll" }

// scrollTextToJSON writes a body that is a bare id as JSON.
func scrollTextToJSON(x *Exchange, _ *Node) error {
	text := bytes.TrimSpace(x.RequestBody)
	if !isScroll(x) || len(text) == 0 || text[0] == '{' {
		return nil
	}
	ids := translate.Quote(string(text))
	if x.Asked.API == "clear_scroll" {
		ids = quoteAll(strings.Split(string(text), ","))
	}
	setScrollIDs(x, ids)
	return nil
}

// scrollIDToBody moves a scroll's id from the path or the parameters to the
// body.
func scrollIDToBody(x *Exchange, _ *Node) error {
	id := orElse(x.Endpoint.ScrollID, x.Params.Get("scroll_id"))
	if !isScroll(x) || id == "" || len(x.RequestBody) > 0 {
		return nil
	}
	x.Params.Drop("scroll_id")
	x.Endpoint.ScrollID = ""
	if x.Asked.API == "clear_scroll" {
		setScrollIDs(x, quoteAll(strings.Split(id, ",")))
		return nil
	}
	setScrollIDs(x, translate.Quote(id))
	if x.Endpoint.Method == "GET" {
		x.Endpoint.Method = "POST"
	}
	return nil
}

func setScrollIDs(x *Exchange, ids string) {
	body := `{"scroll_id":` + ids + `}`
	if keep := x.Params.Get("scroll"); keep != "" {
		x.Params.Drop("scroll")
		body = `{"scroll":` + translate.Quote(keep) + `,` + body[1:]
	}
	x.RequestBody = []byte(body)
	x.Header.Set("Content-Type", "application/json")
	x.Edited()
}
