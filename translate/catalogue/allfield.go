package catalogue

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Searches on the field _all, which 6.x no longer fills.

func init() {
	translate.Register(
		&Change{
			ID: "QRY-10", Name: "AllAsDefaultFieldWasRemoved", Since: V(6, 0),
			Doc: "Without a field, query_string and simple_query_string search all fields; they searched the field _all.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores, and single words of keyword fields", Request: []Rule{
				withParams(translate.RequestHead, queryOfAllFields),
				at(translate.SearchBody, queryOfURLToBody),
				at(translate.Clause("query_string"), queryStringOfAllFields),
				at(translate.Clause("query_string"), searchAllFields),
				at(translate.Clause("simple_query_string"), searchAllFields),
				at(translate.Clause("multi_match"), searchAllFields),
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Get("df") == "_all" {
						x.Params.Drop("df")
					}
					return nil
				}),
			}},
			// 5.6.16 refuses the field *: "The _source field is not searchable".
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "all fields are searched as the one field _all", Request: []Rule{
				at(translate.Clause("query_string"), starToAllFields),
				at(translate.Clause("simple_query_string"), starToAllFields),
				at(translate.Clause("multi_match"), func(_ *Exchange, n *Node) error {
					if fields := n.Get("fields"); isStar(fields) || !fields.Exists() {
						n.Set("fields", `["_all"]`)
					}
					return nil
				}),
			}},
		},
		&Change{
			ID: "QRY-11", Name: "AllWasRemoved", Since: V(6, 0),
			Doc: "The field _all is gone; a query on it becomes a multi_match on all fields.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores, single words of keyword fields, and phrases across fields",
				Request: []Rule{
					keyed(at(translate.Query, allToMultiMatch), "match", "term", "match_phrase", "match_phrase_prefix"),
					keyed(at(translate.Query, allToOtherQueries), "exists", "terms", "prefix", "wildcard", "regexp", "fuzzy"),
					at(translate.Clause("more_like_this"), likeAllFields),
				}},
			NewClient: nothing,
		},
	)
}

// searchAllFields replaces _all by all fields.
func searchAllFields(x *Exchange, n *Node) error {
	if n.Get("default_field").String() == "_all" {
		n.Drop("default_field")
	}
	if !n.Has("default_field") && !n.Has("fields") && !isTrue(n.Get("all_fields")) {
		all, err := fieldsOfAll(x)
		if err != nil {
			return err
		}
		if all != everyField {
			n.Set("fields", all)
			n.Set("lenient", "true")
		}
	}
	fields := n.Get("fields")
	if isStar(fields) && !n.Has("lenient") {
		n.Set("lenient", "true") // * holds numbers and dates, too
	}
	if !fields.IsArray() || !strings.Contains(fields.Raw, "_all") {
		return nil
	}
	all, err := fieldsOfAll(x)
	if err != nil {
		return err
	}
	var names []string
	lenient := false
	for _, f := range fields.Array() {
		if name, boost, boosted := strings.Cut(f.String(), "^"); name == "_all" {
			lenient = true
			for _, name := range gjson.Parse(all).Array() {
				if boosted {
					names = append(names, translate.Quote(name.String()+"^"+boost))
				} else {
					names = append(names, name.Raw)
				}
			}
			continue
		}
		names = append(names, f.Raw)
	}
	if lenient {
		n.Set("fields", "["+strings.Join(names, ",")+"]")
		if !n.Has("lenient") {
			n.Set("lenient", "true") // * holds numbers and dates, too
		}
	}
	return nil
}

const everyField = `["*"]`

func isStar(fields gjson.Result) bool {
	return fields.String() == "*" || (fields.Get("#").Int() == 1 && fields.Get("0").String() == "*")
}

// starToAllFields writes the field * as 5.x says it.
func starToAllFields(_ *Exchange, n *Node) error {
	if isStar(n.Get("fields")) {
		n.Drop("fields")
		n.Set("all_fields", "true")
	}
	if isStar(n.Get("default_field")) {
		n.Drop("default_field")
		n.Set("all_fields", "true")
	}
	return nil
}

// allToMultiMatch replaces a query on _all by one on all fields.
func allToMultiMatch(x *Exchange, n *Node) error {
	for _, clause := range []string{"match", "term", "match_phrase", "match_phrase_prefix"} {
		spec := n.Get(clause).Get("_all")
		if !spec.Exists() || !n.Get(clause).IsObject() {
			continue
		}
		query := translate.NewNode(`{}`)
		if spec.IsObject() {
			query = translate.NewNode(spec.Raw)
			for _, key := range []string{"value", "term"} {
				query.Rename(key, "query")
			}
		} else {
			query.Set("query", spec.Raw)
		}
		switch {
		case clause == "match_phrase":
			query.SetString("type", "phrase")
		case clause == "match_phrase_prefix":
			query.SetString("type", "phrase_prefix")
		case strings.EqualFold(query.Get("operator").String(), "and"), query.Has("minimum_should_match"):
			query.SetString("type", "cross_fields") // words may lie in different fields
			query.Drop("fuzziness")
		}
		return replaceAllQuery(x, n, func(all string) string {
			query.Set("fields", all)
			query.Set("lenient", "true")
			return `{"multi_match":` + query.Raw() + `}`
		})
	}
	return nil
}

// replaceAllQuery puts a query on the fields that stand for _all in the place of
// one on it.
func replaceAllQuery(x *Exchange, n *Node, query func(all string) string) error {
	all, err := fieldsOfAll(x)
	if err != nil {
		return err
	}
	replacement, err := onlyWithAll(x, query(all))
	if err != nil {
		return err
	}
	n.Replace(replacement)
	return nil
}

// allQueryNote says that the query of the URL is on all fields, and has to become
// one of the body.
const allQueryNote = "the query of the URL is on all fields"

// queryOfAllFields looks for a query in the URL that searched _all.
func queryOfAllFields(x *Exchange, _ *Node) error {
	df := x.Params.Get("df")
	if !x.Params.Has("q") || df != "" && df != "_all" || !onAPI(x, typedSearchAPIs) {
		return nil
	}
	x.Edited()
	all, err := fieldsOfAll(x)
	if err != nil {
		return err
	}
	if all == everyField && !strings.EqualFold(x.Params.Get("default_operator"), "and") && !strings.Contains(x.Params.Get("q"), "_all:") || x.Asked.API == "search_template" {
		return nil
	}
	x.Note(allQueryNote, true)
	if len(bytes.TrimSpace(x.RequestBody)) == 0 {
		x.RequestBody = []byte("{}")
		x.Header.Set("Content-Type", "application/json")
	}
	return nil
}

func queryOfURLToBody(x *Exchange, n *Node) error {
	if x.Noted(allQueryNote) != nil && isSearchRoot(n) && x.Params.Has("q") {
		n.Set("query", queryOfURL(x.Params))
	}
	return nil
}

// namesAll finds the field _all in the text of a query.
var namesAll = regexp.MustCompile(`(^|[\s(+!-])_all:`)

// queryStringOfAllFields lets the words of a query_string that must all be there
// lie in different fields.
func queryStringOfAllFields(x *Exchange, n *Node) error {
	if text := n.Get("query").String(); namesAll.MatchString(text) {
		n.SetString("query", namesAll.ReplaceAllString(text, `${1}\*:`))
		if !n.Has("lenient") {
			n.Set("lenient", "true")
		}
	}
	if field := n.Get("default_field"); n.Has("fields") || field.Exists() && field.String() != "_all" {
		return nil
	}
	x.Edited()
	if strings.EqualFold(n.Get("default_operator").String(), "and") || n.Has("minimum_should_match") {
		n.SetString("type", "cross_fields")
	}
	return nil
}

// allToOtherQueries replaces the queries on terms of _all.
func allToOtherQueries(x *Exchange, n *Node) error {
	if exists := n.Get("exists"); exists.Get("field").String() == "_all" {
		return replaceAllQuery(x, n, func(string) string {
			return `{"match_all":{` + strings.TrimPrefix(common(translate.NewNode(exists.Raw)), ",") + `}}`
		})
	}
	for _, clause := range []string{"terms", "prefix", "wildcard", "regexp", "fuzzy"} {
		outer := n.Get(clause)
		spec := outer.Get("_all")
		if !outer.IsObject() || !spec.Exists() {
			continue
		}
		options, value := translate.NewNode(outer.Raw), spec
		if spec.IsObject() {
			options = translate.NewNode(spec.Raw)
			for _, key := range []string{"value", clause, "term"} {
				if v := spec.Get(key); v.Exists() {
					value = v
					break
				}
			}
		}
		return replaceAllQuery(x, n, func(all string) string { return onAllFields(clause, all, value, options) })
	}
	return nil
}

// onAllFields is what stands for a query on terms of _all.
func onAllFields(clause, all string, value gjson.Result, options *Node) string {
	multiMatch := func(v gjson.Result, more string) string {
		return `{"multi_match":{"query":` + translate.Quote(v.String()) + `,"fields":` + all + `,"lenient":true` + more + `}}`
	}
	queryString := func(query string) string {
		return `{"query_string":{"query":` + translate.Quote(query) + `,"fields":` + all + `,"lenient":true` + common(options) + `}}`
	}
	switch clause {
	case "terms":
		var terms []string
		for _, v := range value.Array() {
			terms = append(terms, multiMatch(v, ""))
		}
		return `{"bool":{"should":[` + strings.Join(terms, ",") + `],"minimum_should_match":1` + common(options) + `}}`
	case "prefix":
		return multiMatch(value, `,"type":"phrase_prefix","max_expansions":1024`+common(options))
	case "fuzzy":
		more := `,"fuzziness":` + orElse(options.Get("fuzziness").Raw, `"AUTO"`)
		for _, key := range []string{"prefix_length", "max_expansions"} {
			if v := options.Get(key); v.Exists() {
				more += `,"` + key + `":` + v.Raw
			}
		}
		return multiMatch(value, more+common(options))
	case "wildcard":
		return queryString(escapeQuery(value.String(), "*?"))
	}
	return queryString("/" + strings.ReplaceAll(value.String(), "/", `\/`) + "/")
}

// escapeQuery writes a word so that a query string takes its characters as they
// are, but for some.
func escapeQuery(word, but string) string {
	var b strings.Builder
	for _, c := range word {
		if strings.ContainsRune(`+-=&|><!(){}[]^"~*?:\/ `, c) && !strings.ContainsRune(but, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// likeAllFields names the fields of a more_like_this that searched _all.
func likeAllFields(x *Exchange, n *Node) error {
	if fields := n.Get("fields"); fields.Exists() && !(fields.Get("#").Int() == 1 && fields.Get("0").String() == "_all") {
		return nil
	}
	known, err := searchedMappings(x)
	if err != nil {
		return err
	}
	var names []string
	for _, fields := range known {
		for name, f := range fields {
			if f.Type == "text" {
				names = append(names, name)
			}
		}
	}
	if slices.Sort(names); len(names) > 0 {
		n.Set("fields", quoteAll(slices.Compact(names)))
	}
	return nil
}
