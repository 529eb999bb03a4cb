package catalogue

import (
	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Totals, scores and shards in the answers of searches.

func init() {
	translate.Register(
		&Change{
			ID: "SRCH-01", Name: "TotalHitsAreCountedUpTo10000", Since: V(7, 0),
			Doc: "A search counts its hits exactly only up to 10,000 unless it asks for more with track_total_hits.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					if countsHits(x) && isSearchRoot(n) && !n.Has("track_total_hits") && !x.Params.Has("track_total_hits") {
						n.Set("track_total_hits", "true")
					}
					return nil
				}),
				onAPIs(translate.RequestEnd, []string{"search", "search_template"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "search_template" || (x.Asked.API == "search" && len(x.RequestBody) == 0 && !x.Params.Has("track_total_hits")) {
						if x.Asked.API == "search_template" {
							x.Params.Set("rest_total_hits_as_int", "true")
							return nil
						}
						x.Params.Set("track_total_hits", "true")
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Has("track_total_hits") {
						limit := x.Params.Get("track_total_hits")
						totalsOf(x).limit = limit
						if isNumber(limit) {
							x.Params.Set("track_total_hits", counted(limit))
						}
					}
					return nil
				}),
				at(translate.SearchBody, func(x *Exchange, n *Node) error {
					limit := n.Get("track_total_hits")
					if isSearchRoot(n) {
						totalsOf(x).limits = append(totalsOf(x).limits, limit.Raw)
					}
					if limit.Type == gjson.Number {
						n.Set("track_total_hits", counted(limit.Raw))
					}
					return nil
				}),
			}, Response: []Rule{at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
				if isTopLevel(n) {
					totalsOf(x).answers++
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-03", Name: "HitsTotalBecameAnObject", Since: V(7, 0),
			Doc: `hits.total was a number; it is now {"value": n, "relation": "eq" or "gte"}.`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Hits, func(x *Exchange, n *Node) error {
				if n.Part() == translate.Tail {
					return nil
				}
				switch total := n.Get("total"); {
				case total.IsObject():
					n.Set("total", total.Get("value").Raw)
				case !total.Exists() && n.Has("max_score") && x.Client.AtLeast(V(6, 0)):
					n.InsertAfter("", "total", "-1") // 6.x prints -1 when hits are not counted
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Hits, func(x *Exchange, n *Node) error {
				if x.AskedParams.Bool("rest_total_hits_as_int") {
					return nil
				}
				switch total := n.Get("total"); {
				case total.Raw == "-1":
					n.Drop("total")
				case total.Type == gjson.Number && isTopLevel(n):
					value, relation := totalsOf(x).of(x, total)
					n.Set("total", `{"value":`+value+`,"relation":"`+relation+`"}`)
				case total.Type == gjson.Number:
					n.Set("total", `{"value":`+total.Raw+`,"relation":"eq"}`)
				}
				return nil
			})}},
		},
		&Change{
			ID: "SRCH-04", Name: "MaxScoreBecameNull", Since: V(7, 0),
			Doc: "max_score of a search that collects no hits is null; it was 0.0.",
			OldClient: Direction{Fidelity: translate.Exact, Request: noteSearchesThatCollect, Response: []Rule{
				countAnswers,
				at(translate.Hits, func(x *Exchange, n *Node) error {
					score := n.Get("max_score")
					if isTopLevel(n) && score.Exists() && score.Type == gjson.Null && scoresOf(x).collectsNothing() {
						n.Set("max_score", "0.0")
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: noteSearchesThatCollect, Response: []Rule{
				countAnswers,
				at(translate.Shards, func(x *Exchange, n *Node) error {
					scoresOf(x).noShards = n.Get("total").Raw == "0"
					return nil
				}),
				at(translate.Hits, func(x *Exchange, n *Node) error {
					// Hits of filters alone have a score of 0.0 in all versions, and
					// so has a search without any shard. What a template asks for is
					// not known.
					score, s := n.Get("max_score"), scoresOf(x)
					empty := s.collectsNothing() && !s.noShards || !countsHits(x)
					if isTopLevel(n) && empty && score.Type == gjson.Number && score.Num == 0 {
						n.Set("max_score", "null")
					}
					return nil
				}),
			}},
		},
	)
}

// totals are what the searches of a request want counted, as they say it.
type totals struct {
	limit   string   // in the URL
	limits  []string // of the searches, in the order of their bodies; "" if one says nothing
	answers int      // so far
}

func totalsOf(x *Exchange) *totals {
	const note = "totals"
	t, ok := x.Noted(note).(*totals)
	if !ok {
		t = &totals{}
		x.Note(note, t)
	}
	return t
}

// of returns the value and the relation of the total that the client's version
// shows for the search whose answer is being visited, given an exact one.
func (t *totals) of(x *Exchange, exact gjson.Result) (value, relation string) {
	limit := t.limit
	if i := t.answers - 1; limit == "" && i >= 0 && i < len(t.limits) {
		limit = t.limits[i]
	}
	most := int64(10_000)
	switch {
	case !countsHits(x) || x.AskedParams.Has("scroll") || limit == "true":
		return exact.Raw, "eq"
	case isNumber(limit):
		most = gjson.Parse(limit).Int()
	}
	if exact.Int() <= most {
		return exact.Raw, "eq"
	}
	return itoa(int(most)), "gte"
}

// counted is what a limit of track_total_hits means where it is only true or
// false: Java clients say -1 for hits that are not counted.
func counted(limit string) string {
	if limit == "-1" {
		return "false"
	}
	return "true"
}

// scores tell which searches of a request collect no hits, for max_score.
type scores struct {
	collects []bool // of the searches, in the order of their bodies
	sizeZero bool   // in the URL
	answers  int    // so far
	noShards bool
}

// noteSearchesThatCollect finds out which searches collect no hits.
var noteSearchesThatCollect = []Rule{
	at(translate.SearchBody, func(x *Exchange, n *Node) error {
		if isSearchRoot(n) {
			collects := n.Get("size").Raw != "0"
			if n.Has("suggest") && !n.Has("query") && !n.Has("aggs") && !n.Has("aggregations") {
				collects = false // only suggestions
			}
			scoresOf(x).collects = append(scoresOf(x).collects, collects)
		}
		return nil
	}),
	withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
		if x.Params.Get("size") == "0" {
			scoresOf(x).sizeZero = true
		}
		return nil
	}),
}

var countAnswers = at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
	if isTopLevel(n) {
		scoresOf(x).answers++
	}
	return nil
})

func scoresOf(x *Exchange) *scores {
	const note = "scores"
	s, ok := x.Noted(note).(*scores)
	if !ok {
		s = &scores{}
		x.Note(note, s)
	}
	return s
}

// collectsNothing is about the search whose answer is being visited.
func (s *scores) collectsNothing() bool {
	if i := s.answers - 1; i >= 0 && i < len(s.collects) {
		return s.sizeZero || !s.collects[i]
	}
	return s.sizeZero
}

// isTopLevel reports whether a node of an answer, at SearchAnswer or Hits, is
// the search's own and not one of inner hits or top hits: only those are visited
// piece by piece, and have no name. The part behind the hits does not count.
func isTopLevel(n *Node) bool { return n.Name() == "" && n.Part() != translate.Tail }

// isSearchRoot reports whether a node at SearchBody is a search itself: the
// bodies of count, explain and by-query APIs stand there too.
func isSearchRoot(n *Node) bool { return n.Name() == "" }

// countsHits reports whether an API answers hits with a total.
func countsHits(x *Exchange) bool { return x.Asked.API == "search" || x.Asked.API == "msearch" }

func isNumber(s string) bool {
	r := gjson.Parse(s)
	return r.Type == gjson.Number
}
