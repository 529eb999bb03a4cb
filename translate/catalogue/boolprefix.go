package catalogue

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Searches as one types: all words are searched, of the last one its beginning.

func init() {
	translate.Register(
		&Change{
			ID: "QRY-50", Name: "MatchBoolPrefixAppeared", Since: V(7, 2),
			Doc:       "The query match_bool_prefix is new; a bool query of a match and, for the last word, a simple_query_string says nearly the same.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "words are told apart at spaces",
				Request: []Rule{keyed(at(translate.Query, replaceClause("match_bool_prefix", matchBoolPrefixAsBool)), "match_bool_prefix")}},
		},
		&Change{
			ID: "QRY-50", Name: "MultiMatchGotBoolPrefix", Since: V(7, 2),
			Doc:       "multi_match has the type bool_prefix: a match_bool_prefix on each of the fields.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "words are told apart at spaces; fields that are named by a pattern are searched together",
				Request: []Rule{keyed(at(translate.Query, replaceClause("multi_match", multiMatchBoolPrefix)), "multi_match")}},
		},
	)
}

func matchBoolPrefixAsBool(_ *Exchange, n *Node) (string, error) {
	for _, field := range n.Keys() {
		spec := n.Get(field)
		if !spec.IsObject() {
			return boolPrefix(spec.String(), spec, translate.Quote(field)), nil
		}
		return boolPrefix(spec.Get("query").String(), spec, translate.Quote(field)), nil
	}
	return "", nil
}

func multiMatchBoolPrefix(_ *Exchange, n *Node) (string, error) {
	if n.Get("type").String() != "bool_prefix" {
		return "", nil
	}
	for _, key := range []string{"slop", "cutoff_frequency"} {
		if n.Has(key) {
			return "", esapi.IllegalArgument("[" + key + "] not allowed for type [bool_prefix]")
		}
	}
	options, text := n.Value(), n.Get("query").String()
	var fields []string
	for _, f := range n.Get("fields").Array() {
		if strings.Contains(f.String(), "*") {
			fields = nil
			break
		}
		fields = append(fields, translate.Quote(f.String()))
	}
	if len(fields) == 0 {
		return boolPrefix(text, options, strings.Trim(n.Get("fields").Raw, "[]")), nil
	}
	for i, f := range fields {
		fields[i] = boolPrefix(text, withoutCommon(options), f)
	}
	return `{"dis_max":{"queries":[` + strings.Join(fields, ",") + `],"tie_breaker":` + orElse(n.Get("tie_breaker").Raw, "1.0") + common(n) + `}}`, nil
}

func withoutCommon(options gjson.Result) gjson.Result {
	n := translate.NewNode(options.Raw)
	n.Drop("boost")
	n.Drop("_name")
	return n.Value()
}

// boolPrefix searches fields, names with commas between, or all if there are
// none, for words and for what begins with the last of them. The options are
// those of the query that this one replaces.
func boolPrefix(text string, options gjson.Result, fields string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return `{"match_none":{}}`
	}
	n := translate.NewNode("{}")
	if options.IsObject() {
		n = translate.NewNode(options.Raw)
	}
	var prefix, match object
	for _, o := range []*object{&prefix, &match} {
		if fields != "" {
			o.set("fields", "["+fields+"]")
		} else {
			o.set("fields", `["*"]`)
			o.set("lenient", "true")
		}
		for _, key := range []string{"analyzer", "lenient"} {
			if v := n.Get(key); v.Exists() {
				o.set(key, v.Raw)
			}
		}
	}
	// In a query of this flag only the star at the end has a meaning.
	last := len(words) - 1
	prefix.set("query", translate.Quote(words[last]+"*"))
	prefix.set("flags", `"PREFIX"`)
	prefixed := `{"simple_query_string":` + prefix.String() + `}`
	match.set("type", `"most_fields"`)
	for _, key := range []string{"fuzziness", "prefix_length", "max_expansions", "fuzzy_rewrite"} {
		if v := n.Get(key); v.Exists() {
			match.set(key, v.Raw)
		}
	}
	var clauses []string
	add := func(text string) {
		match.set("query", translate.Quote(text))
		clauses = append(clauses, `{"multi_match":`+match.String()+`}`)
	}
	occur, more := "should", common(n)
	switch least := n.Get("minimum_should_match"); {
	case last == 0:
	case strings.EqualFold(n.Get("operator").String(), "and"):
		occur = "must"
		match.set("operator", `"and"`)
		add(strings.Join(words[:last], " "))
	case least.Exists():
		more = `,"minimum_should_match":` + least.Raw + more
		for _, w := range words[:last] {
			add(w)
		}
	default:
		add(strings.Join(words[:last], " "))
	}
	return `{"bool":{"` + occur + `":[` + strings.Join(append(clauses, prefixed), ",") + `]` + more + `}}`
}
