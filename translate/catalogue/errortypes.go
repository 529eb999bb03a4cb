package catalogue

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Errors about requests that cannot be read. Types and status are as seen on
// 5.6.16, 6.8.23, 7.17.28 and 8.7.1.

func init() {
	translate.Register(
		&Change{
			ID: "ERR-14", Name: "BrokenJSONBecameABadRequest", Since: V(7, 0),
			Doc:       "A body that is no JSON answers 400; it was 500.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{brokenStatus(http.StatusBadRequest, http.StatusInternalServerError)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{brokenStatus(http.StatusInternalServerError, http.StatusBadRequest)}},
		},
		&Change{
			ID: "ERR-14", Name: "BrokenJSONErrorsWereRenamed", Since: V(8, 0),
			Doc: "The error for a body that is no JSON is x_content_parse_exception, or x_content_e_o_f_exception with status 500 if it breaks off; it was json_parse_exception and json_e_o_f_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				brokenStatus(http.StatusInternalServerError, http.StatusBadRequest),
				at(translate.Error, olderBrokenJSON),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				onErrors(func(x *Exchange, _ *Node) error {
					if e, ok := brokenJSON(x); ok && breaksOff(e) && e.Get("type").String() != "x_content_parse_exception" {
						x.Status = http.StatusInternalServerError
					}
					return nil
				}),
				at(translate.Error, newerBrokenJSON),
			}},
		},
		&Change{
			ID: "ERR-14", Name: "BrokenMsearchLinesAreNotWrapped", Since: V(6, 0),
			Doc: "The error for a line of an msearch that is no JSON is the JSON parser's, with status 500; it was a parse_exception with status 400.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				onErrors(func(x *Exchange, _ *Node) error {
					if _, ok := brokenJSON(x); ok && x.Asked.API == "msearch" {
						x.Status = http.StatusBadRequest
					}
					return nil
				}),
				at(translate.Error, func(x *Exchange, n *Node) error {
					if x.Asked.API == "msearch" && n.Name() != "caused_by" && strings.HasPrefix(n.Get("type").String(), "json_") {
						if n.Name() == "error" {
							n.Set("caused_by", `{"type":`+n.Get("type").Raw+`,"reason":`+n.Get("reason").Raw+`}`)
						}
						n.SetString("type", "parse_exception")
						n.SetString("reason", notASearch)
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{
				onErrors(func(x *Exchange, _ *Node) error {
					if _, ok := brokenJSON(x); ok && x.Asked.API == "msearch" {
						x.Status = http.StatusInternalServerError
					}
					return nil
				}),
				at(translate.Error, func(x *Exchange, n *Node) error {
					if x.Asked.API != "msearch" || n.Name() != "error" || n.Get("reason").String() != notASearch {
						return nil
					}
					cause := n.Get("caused_by")
					kind, reason := cause.Get("type").Raw, cause.Get("reason").Raw
					n.Set("root_cause", `[{"type":`+kind+`,"reason":`+reason+`}]`)
					n.Set("type", strings.Clone(kind))
					n.Set("reason", strings.Clone(reason))
					n.Drop("caused_by")
					return nil
				}),
			}},
		},
		&Change{
			ID: "ERR-15", Name: "MissingIndicesOfReadsBecameIndices", Since: V(8, 0),
			Doc:       "The error for a document of a missing index has the resource.type index_or_alias, as all errors for missing indices; it was index_expression.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{missingResource("index_expression")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{missingResource("index_or_alias")}},
		},
		&Change{
			ID: "ERR-07", Name: "ResultWindowBecameABadRequest", Since: V(7, 0),
			Doc: "A page behind the result window, and one that is larger than other limits of an index, answers 400 with an illegal_argument_exception; it was 500 with a query_phase_execution_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: windowErrors(http.StatusBadRequest, http.StatusInternalServerError,
				"illegal_argument_exception", "query_phase_execution_exception")},
			NewClient: Direction{Fidelity: translate.Exact, Response: windowErrors(http.StatusInternalServerError, http.StatusBadRequest,
				"query_phase_execution_exception", "illegal_argument_exception")},
		},
		&Change{
			ID: "ERR-14", Name: "SearchErrorsLostTheContext", Since: V(7, 0),
			Doc:       "The error for a search whose parts do not go together is search_exception; it was search_context_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{renameError("search_exception", "search_context_exception", nil)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{renameError("search_context_exception", "search_exception", nil)}},
		},
		&Change{
			ID: "ERR-14", Name: "AliasesOfSeveralIndicesAreSpeltRight", Since: V(7, 0),
			Doc:       `The reason for an alias of several indices where one is wanted is "alias [a] has more than one index associated with it [b, c], can't execute a single index op".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{severalIndices("Alias [$1] has more than one indices associated with it [[$2]], $3")}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{severalIndices("alias [$1] has more than one index associated with it [$2], $3")}},
		},
		&Change{
			ID: "ERR-14", Name: "UnknownQueriesAreValidatedWithOtherWords", Since: V(7, 0),
			Doc: `_validate/query says "unknown query [x]"; it was "no [query] registered for [x]".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Answer, func(x *Exchange, n *Node) error {
				if m := unknownQuery.FindStringSubmatch(n.Get("error").String()); m != nil && x.Asked.API == "indices.validate_query" {
					n.SetString("error", "org.elasticsearch.common.ParsingException: no [query] registered for ["+m[1]+"]")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the words are the cluster's"},
		},
		&Change{
			ID: "ERR-14", Name: "UnknownAggregationsGotAnotherError", Since: V(6, 0),
			Doc:       "The error for an unknown aggregation is named_object_not_found_exception; it was unknown_named_object_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{unknownAggregation}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{unknownAggregation}},
		},
		&Change{
			ID: "ERR-14", Name: "UnknownAggregationsAreParsingErrors", Since: V(7, 0),
			Doc:       "The error for an unknown aggregation is parsing_exception; it was named_object_not_found_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{unknownAggregation}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{unknownAggregation}},
		},
	)
}

// readAPIs read single documents.
var readAPIs = []string{"get", "get_source", "explain", "termvectors", "mget", "mtermvectors"}

// missingResource gives the missing index of a read the resource.type of the
// client's version.
func missingResource(kind string) Rule {
	return at(translate.Error, func(x *Exchange, n *Node) error {
		if slices.Contains(readAPIs, x.Asked.API) && n.Has("resource.type") && n.Get("type").String() == "index_not_found_exception" {
			n.SetString("resource.type", kind)
		}
		return nil
	})
}

// inSource stands in the reasons of the JSON parser itself.
const inSource = "\n at [Source: "

// brokenJSON returns an answer's error if it says that the request's body is no
// JSON.
func brokenJSON(x *Exchange) (gjson.Result, bool) {
	if x.Status < http.StatusBadRequest {
		return gjson.Result{}, false
	}
	e := gjson.GetBytes(x.AnswerBody(), "error")
	switch e.Get("type").String() {
	case "json_e_o_f_exception", "json_parse_exception", "x_content_e_o_f_exception":
		return e, true
	case "parse_exception":
		cause := e.Get("caused_by")
		return cause, e.Get("reason").String() == notASearch && strings.HasPrefix(cause.Get("type").String(), "json_")
	case "x_content_parse_exception":
		return e, strings.Contains(e.Get("reason").String(), inSource) && !readsToMap(x)
	}
	return e, false
}

// breaksOff reports whether 8.x takes broken JSON for one that breaks off, which
// only is so where it expects a closing bracket.
func breaksOff(e gjson.Result) bool {
	return strings.Contains(e.Get("reason").String(), "Unexpected end-of-input: expected close marker")
}

// brokenStatus changes the status of errors about broken JSON.
func brokenStatus(from, to int) Rule {
	return onErrors(func(x *Exchange, _ *Node) error {
		if _, ok := brokenJSON(x); ok && x.Status == from {
			x.Status = to
		}
		return nil
	})
}

// readsToMap reports whether a body is read as a whole before it is understood:
// 7.x and older wrap the parser's error then.
func readsToMap(x *Exchange) bool {
	return slices.Contains([]string{"indices.create", "indices.put_mapping", "indices.put_template", "ingest.put_pipeline"}, x.Asked.API)
}

const (
	eofClass   = "com.fasterxml.jackson.core.io.JsonEOFException: "
	notASearch = "Exception when parsing search request" // of 5.x, for a line of an msearch
	notAMap    = "Failed to parse content to map"
	endOfData  = "Unexpected end-of-input"
)

func olderBrokenJSON(x *Exchange, n *Node) error {
	reason := n.Get("reason").String()
	switch kind := n.Get("type").String(); {
	case kind == "x_content_e_o_f_exception":
		n.SetString("type", "json_e_o_f_exception")
		n.SetString("reason", strings.TrimPrefix(reason, eofClass))
	case kind != "x_content_parse_exception" || !strings.Contains(reason, inSource):
	case readsToMap(x) && n.Name() != "caused_by":
		n.SetString("type", "parse_exception")
		n.SetString("reason", notAMap)
	default:
		reason = lineAndColumn.ReplaceAllString(reason, "")
		n.SetString("reason", reason)
		n.SetString("type", "json_parse_exception")
		if strings.HasPrefix(reason, endOfData) {
			n.SetString("type", "json_e_o_f_exception")
		}
	}
	return nil
}

// position is where the JSON parser stopped.
var position = regexp.MustCompile(`line: (\d+), column: (\d+)\]$`)

func newerBrokenJSON(_ *Exchange, n *Node) error {
	reason := n.Get("reason").String()
	switch n.Get("type").String() {
	case "parse_exception":
		if reason != notAMap {
			return nil
		}
		if cause := n.Get("caused_by").Get("reason"); cause.Exists() {
			reason = cause.String()
		}
	case "json_e_o_f_exception":
		if breaksOff(n.Value()) {
			n.SetString("type", "x_content_e_o_f_exception")
			n.SetString("reason", eofClass+reason)
			return nil
		}
	case "json_parse_exception":
	default:
		return nil
	}
	n.SetString("type", "x_content_parse_exception")
	if p := position.FindStringSubmatch(reason); p != nil {
		n.SetString("reason", "["+p[1]+":"+p[2]+"] "+reason)
	}
	return nil
}

// windowReason matches the errors about limits of a search: of pages, of pages of
// a scroll, of slices, and of what is scored again.
var windowReason = regexp.MustCompile(`^(?:Result window is too large|Batch size is too large|The number of slices \[\d+\] is too large|Rescore window \[\d+\] is too large)`)

// windowErrors changes status and type of the errors about limits of a search.
func windowErrors(fromStatus, toStatus int, from, to string) []Rule {
	return []Rule{
		onErrors(func(x *Exchange, _ *Node) error {
			if x.Status == fromStatus && x.Noted(negativeSizeNote) == nil && windowReason.MatchString(gjson.GetBytes(x.AnswerBody(), "error.root_cause.0.reason").String()) {
				x.Status = toStatus
			}
			return nil
		}),
		renameError(from, to, func(_ *Exchange, n *Node) bool { return windowReason.MatchString(n.Get("reason").String()) }),
	}
}

var unknownAggregationReason = regexp.MustCompile(`^(?:\[(\d+):(\d+)\] )?(?:Unknown BaseAggregationBuilder|unable to parse BaseAggregationBuilder with name|Unknown aggregation type) \[([^\]]*)\]`)

// unknownAggregation writes the error as the client's version does.
var unknownAggregation = at(translate.Error, func(x *Exchange, n *Node) error {
	reason := n.Get("reason").String()
	m := unknownAggregationReason.FindStringSubmatch(reason)
	if m == nil || n.Name() == "caused_by" {
		return nil
	}
	kind, reason := "parsing_exception", "Unknown aggregation type ["+m[3]+"]"
	switch {
	case x.Client.Before(V(6, 0)):
		kind, reason = "unknown_named_object_exception", "Unknown BaseAggregationBuilder ["+m[3]+"]"
	case x.Client.Before(V(7, 0)):
		kind, reason = "named_object_not_found_exception", "unable to parse BaseAggregationBuilder with name ["+m[3]+"]: parser not found"
	}
	n.SetString("type", kind)
	n.SetString("reason", reason)
	return nil
})

var unknownQuery = regexp.MustCompile(`^(?:org\.elasticsearch\.common\.)?ParsingException(?:\[|: )unknown query \[([^\]]*)\]`)

// severalIndicesReason is about an alias where one index is wanted.
var severalIndicesReason = regexp.MustCompile(`^[aA]lias \[([^\]]*)\] has more than one (?:indices|index) associated with it \[?\[([^\]]*)\]\]?, (can't execute a single index op)$`)

// severalIndices writes the error as the client's version does.
func severalIndices(words string) Rule {
	return at(translate.Error, func(_ *Exchange, n *Node) error {
		reason := n.Get("reason").String()
		if changed := severalIndicesReason.ReplaceAllString(reason, words); changed != reason {
			n.SetString("reason", changed)
		}
		return nil
	})
}
