package catalogue

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Errors about bodies that are JSON and make no sense: which of two parsers found
// them, and what is checked before the shards are asked. As seen on 5.6.16,
// 6.8.23, 7.10.2, 7.17.28 and 8.7.1.

func init() {
	translate.Register(
		&Change{
			ID: "ERR-14", Name: "ObjectParsersGotAnErrorOfTheirOwn", Since: V(6, 5),
			Doc:       "The error for a key that an object does not take, and for a member that cannot be read, is x_content_parse_exception; it was illegal_argument_exception and parsing_exception.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, olderObjectParser)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, newerObjectParser)}},
		},
		&Change{
			ID: "ERR-14", Name: "UnknownQueriesAreUnknownFields", Since: V(7, 0),
			Doc: `The reason for a query that there is not is "unknown query [x]"; it was "no [query] registered for [x]".`,
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, func(_ *Exchange, n *Node) error {
				if m := unknownQueryReason.FindStringSubmatch(n.Get("reason").String()); m != nil && n.Get("type").String() == "parsing_exception" {
					n.SetString("reason", "no [query] registered for ["+m[1]+"]")
					n.Drop("caused_by")
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, func(_ *Exchange, n *Node) error {
				m := unregisteredQuery.FindStringSubmatch(n.Get("reason").String())
				if m == nil || n.Get("type").String() != "parsing_exception" {
					return nil
				}
				n.SetString("reason", "unknown query ["+m[1]+"]")
				if n.Name() != "root_cause" {
					n.Set("caused_by", `{"type":"named_object_not_found_exception","reason":`+
						translate.Quote("["+n.Get("line").Raw+":"+n.Get("col").Raw+"] unknown field ["+m[1]+"]")+`}`)
				}
				return nil
			})}},
		},
		&Change{
			ID: "ERR-14", Name: "BoolQueriesWrapErrors", Since: V(7, 7),
			Doc:       "An error in a clause of a bool query is wrapped in one that says which clause it was.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, unwrapBoolErrors)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Error, wrapBoolErrors)}},
		},
		&Change{
			ID: "SRCH-18", Name: "NegativeSizesFailBeforeTheShards", Since: V(7, 13),
			Doc: "A negative size in a search's body is an illegal_argument_exception; each shard failed with it.",
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{keyed(at(translate.SearchBody, failOnTheShards), "size")},
				Response: []Rule{at(translate.Error, noNegativeHits)}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.SearchBody, func(x *Exchange, n *Node) error {
				if size := n.Get("size"); onAPI(x, searchAPIs) && size.Int() < -1 {
					return negativeSize(size)
				}
				return nil
			})}},
		},
		&Change{
			ID: "MS-01", Name: "UnknownMsearchKeysAreNamed", Since: V(7, 0),
			Doc:       "An unknown key in the header of an msearch line is an error; it was ignored.",
			OldClient: nothing, // see UnknownMsearchKeysBecameErrors
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.MsearchHeader, func(x *Exchange, n *Node) error {
				for _, key := range n.Keys() {
					if !msearchTakes(x, key) {
						return esapi.IllegalArgument("key [" + key + "] is not supported in the metadata section")
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "ERR-14", Name: "UnknownActionsBecameErrors", Since: V(8, 0),
			Doc: "An unknown action in a bulk is an error; it was skipped, together with the line behind it.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				from7(at(translate.BulkAction, nextBulkItem)),
				at(translate.BulkAction, func(x *Exchange, n *Node) error {
					if action, known := bulkActionOf(n); !known && n.Get(action).IsObject() {
						bulkItemsOf(x).add(x, n).skipped = true
					}
					return nil
				}),
			}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.BulkAction, func(x *Exchange, n *Node) error {
				lines, ok := x.Noted(bulkLineNote).(*int)
				if !ok {
					lines = new(int)
					x.Note(bulkLineNote, lines)
				}
				*lines++
				action, known := bulkActionOf(n)
				if n.Len() > 0 && !known {
					return esapi.IllegalArgument(fmt.Sprintf("Malformed action/metadata line [%d], expected field [create], [delete], [index] or [update] but found [%s]",
						*lines+x.RepeatedLines(), action))
				}
				if action != "delete" {
					*lines++
				}
				return nil
			})}},
		},
	)
}

// Reasons of errors of the parsers for objects.
var (
	unknownField  = regexp.MustCompile(`^(?:\[(\d+):(\d+)\] )?(\[\w+\] unknown field \[[^\]]*\])(?:, parser not found)?$`)
	unreadField   = regexp.MustCompile(`^(?:\[(\d+):(\d+)\] )?(\[\w+\] failed to parse field \[[^\]]*\])$`)
	unreadInBool  = regexp.MustCompile(`^\[\d+:\d+\] \[bool\] failed to parse field \[(?:must|should|filter|must_not)\]$`)
	emptyClauseAt = regexp.MustCompile(`^query malformed, empty clause found at \[(\d+):(\d+)\]$`)

	unknownQueryReason = regexp.MustCompile(`^unknown query \[([^\]]*)\]`)
	unregisteredQuery  = regexp.MustCompile(`^no \[query\] registered for \[([^\]]*)\]$`)

	boolMembers    = []string{"must", "should", "filter", "must_not"}
	bulkActions    = []string{"index", "create", "update", "delete"}
	queriedAPIs    = []string{"search", "count", "explain", "indices.validate_query", "delete_by_query", "update_by_query", "async_search.submit"}
	tooManyHitsFor = regexp.MustCompile(`^(?:Result window|Batch size) is too large`)
)

const (
	bulkLineNote     = "lines of the bulk so far"
	negativeSizeNote = "a search has a negative size"
	contentParse     = "x_content_parse_exception"
	numHits          = "numHits must be > 0; please use TotalHitCountCollector if you just need the total hit count"
)

// newerObjectParser names the error of an object's parser as 6.5 and later do.
func newerObjectParser(x *Exchange, n *Node) error {
	reason, ok := newerObjectError(x, n.Value())
	if !ok {
		return nil
	}
	n.SetString("type", contentParse)
	n.SetString("reason", reason)
	n.Drop("line")
	n.Drop("col")
	if n.Name() == "error" {
		// 5.x takes the innermost exception of its own for the root.
		cause := reason
		for c := n.Get("caused_by"); c.Exists(); c = c.Get("caused_by") {
			if r, ok := newerObjectError(x, c); ok {
				cause = r
			}
		}
		n.Set("root_cause", `[{"type":"`+contentParse+`","reason":`+translate.Quote(cause)+`}]`)
	}
	return nil
}

func newerObjectError(x *Exchange, e gjson.Result) (reason string, ok bool) {
	reason = e.Get("reason").String()
	position := ""
	if line := e.Get("line"); line.Exists() {
		position = "[" + line.Raw + ":" + e.Get("col").Raw + "] "
	}
	switch e.Get("type").String() {
	case "illegal_argument_exception":
		if m := unknownField.FindStringSubmatch(reason); m != nil {
			if x.Client.Before(V(7, 0)) {
				return position + m[3] + ", parser not found", true
			}
			return position + m[3], true
		}
	case "parsing_exception":
		return position + reason, unreadField.MatchString(reason)
	}
	return "", false
}

// olderObjectParser names the error of an object's parser as versions before 6.5
// do.
func olderObjectParser(_ *Exchange, n *Node) error {
	if n.Get("type").String() != contentParse {
		return nil
	}
	reason := n.Get("reason").String()
	if m := unknownField.FindStringSubmatch(reason); m != nil {
		n.SetString("type", "illegal_argument_exception")
		n.SetString("reason", m[3]+", parser not found")
		return nil
	}
	m := unreadField.FindStringSubmatch(reason)
	if m == nil {
		return nil
	}
	set := func(n *Node, m []string) {
		n.SetString("type", "parsing_exception")
		n.SetString("reason", m[3])
		if m[1] != "" {
			n.InsertAfter("reason", "line", m[1])
			n.InsertAfter("line", "col", m[2])
		}
	}
	set(n, m)
	if n.Name() == "error" {
		root := m
		for c := n.Get("caused_by"); c.Get("type").String() == contentParse; c = c.Get("caused_by") {
			if inner := unreadField.FindStringSubmatch(c.Get("reason").String()); inner != nil {
				root = inner
			}
		}
		cause := translate.NewNode("{}")
		set(cause, root)
		n.Set("root_cause", "["+cause.Raw()+"]")
	}
	return nil
}

// unwrapBoolErrors shows the error in a clause without those of the bool queries
// around it.
func unwrapBoolErrors(_ *Exchange, n *Node) error {
	e := n.Value()
	inner := e
	for inner.Get("type").String() == contentParse && unreadInBool.MatchString(inner.Get("reason").String()) && inner.Get("caused_by").Exists() {
		inner = inner.Get("caused_by")
	}
	if inner.Raw == e.Raw {
		return nil
	}
	var o object
	if n.Name() == "error" {
		var root object
		root.addAll(inner)
		root.drop("caused_by")
		o.set("root_cause", "["+root.String()+"]")
	}
	o.addAll(inner)
	n.Replace(o.String())
	return nil
}

// wrapBoolErrors wraps the error in a clause as the bool queries around it do.
// Where it stands in the request tells which these are.
func wrapBoolErrors(x *Exchange, n *Node) error {
	if n.Name() != "error" || !slices.Contains(queriedAPIs, x.Asked.API) {
		return nil
	}
	e := n.Value()
	line, col := e.Get("line").Raw, e.Get("col").Raw
	kind := e.Get("type").String()
	if m := emptyClauseAt.FindStringSubmatch(e.Get("reason").String()); m != nil && kind == "illegal_argument_exception" {
		line, col = m[1], m[2]
	} else if kind != "parsing_exception" {
		return nil
	}
	around := boolsAround(x.RequestBody, line, col)
	if len(around) == 0 {
		return nil
	}
	var inner object
	inner.addAll(e)
	inner.drop("root_cause")
	wrapped := inner.String()
	outermost := ""
	for i, member := range slices.Backward(around) {
		reason := fmt.Sprintf("[%s:%s] [bool] failed to parse field [%s]", line, col, member)
		outermost = `"type":"` + contentParse + `","reason":` + translate.Quote(reason)
		if i == len(around)-1 && kind != "parsing_exception" {
			n.Set("root_cause", "[{"+outermost+"}]")
		}
		outermost += `,"caused_by":` + wrapped
		wrapped = "{" + outermost + "}"
	}
	n.Replace(`{"root_cause":` + n.Get("root_cause").Raw + "," + outermost + "}")
	return nil
}

// boolsAround returns the members of bool queries in which a position of a JSON
// text stands, the outermost first.
func boolsAround(body []byte, line, col string) []string {
	l, err := strconv.Atoi(line)
	c, err2 := strconv.Atoi(col)
	if err != nil || err2 != nil {
		return nil
	}
	end := 0
	for ; l > 1; l-- {
		i := bytes.IndexByte(body[end:], '\n')
		if i < 0 {
			return nil
		}
		end += i + 1
	}
	end = min(end+c-1, len(body))
	var path []string // of each object or array around, the key that leads on
	key := ""
	for i := 0; i < end; i++ {
		switch body[i] {
		case '{', '[':
			path, key = append(path, key), ""
		case '}', ']':
			if len(path) == 0 {
				return nil
			}
			path, key = path[:len(path)-1], ""
		case ',':
			key = ""
		case '"':
			start := i + 1
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if key == "" {
				key = string(body[start:min(i, len(body))])
			}
		}
	}
	var around []string
	for i := 1; i < len(path); i++ {
		if path[i-1] == "bool" && slices.Contains(boolMembers, path[i]) {
			around = append(around, path[i])
		}
	}
	return around
}

// failOnTheShards makes a search with a negative size fail where the client's
// version does: on the shards, which refuse more hits than any index allows.
func failOnTheShards(x *Exchange, n *Node) error {
	if !onAPI(x, searchAPIs) || x.Params.Has("size") || n.Get("size").Int() >= -1 || n.Get("from").Int()+n.Get("size").Int() > 0 {
		return nil
	}
	n.Set("size", "2147483647")
	if !x.Params.Has("scroll") && !n.Has("search_after") {
		x.Params.Drop("from")
		n.Set("from", "2147483647")
	}
	x.Note(negativeSizeNote, true)
	return nil
}

// noNegativeHits gives the shards' errors the reason that they have for a
// negative size.
func noNegativeHits(x *Exchange, n *Node) error {
	if x.Noted(negativeSizeNote) != nil && tooManyHitsFor.MatchString(n.Get("reason").String()) {
		n.SetString("reason", numHits)
	}
	return nil
}

func negativeSize(size gjson.Result) error {
	return &esapi.Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception",
		Reason: "[size] parameter cannot be negative, found [" + size.String() + "]"}
}

// msearchTakes reports whether the client's version knows a key in the header of
// an msearch line.
func msearchTakes(x *Exchange, key string) bool {
	switch key {
	case "indices", "searchType", "requestCache", "ignoreUnavailable", "allowNoIndices", "expandWildcards", "ignoreThrottled":
		return true
	case "type", "types":
		return x.Client.Before(V(8, 0))
	}
	return slices.Contains(msearchKeys, key)
}

// bulkActionOf is the first key of an action line, and whether all versions know
// it.
func bulkActionOf(n *Node) (action string, known bool) {
	if n.Len() == 1 {
		for _, a := range bulkActions {
			if n.Has(a) {
				return a, true
			}
		}
	}
	if keys := n.Keys(); len(keys) > 0 {
		action = keys[0]
	}
	return action, slices.Contains(bulkActions, action)
}
