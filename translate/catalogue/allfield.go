package catalogue

import (
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
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores, and words that lie in different fields under the operator and", Request: []Rule{
				at(translate.Clause("query_string"), searchAllFields),
				at(translate.Clause("simple_query_string"), searchAllFields),
				at(translate.Clause("multi_match"), searchAllFields),
				at(translate.RequestHead, func(x *Exchange, _ *Node) error {
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
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scores, analysis by the field's own analyzer, and phrases across fields",
				Request: []Rule{at(translate.Query, allToMultiMatch)}},
			NewClient: nothing,
		},
	)
}

// searchAllFields replaces _all by all fields.
func searchAllFields(_ *Exchange, n *Node) error {
	if n.Get("default_field").String() == "_all" {
		n.Drop("default_field")
	}
	fields := n.Get("fields")
	if !fields.IsArray() || !strings.Contains(fields.Raw, "_all") {
		return nil
	}
	var names []string
	lenient := false
	for _, f := range fields.Array() {
		if name, boost, boosted := strings.Cut(f.String(), "^"); name == "_all" {
			lenient = true
			if names = append(names, `"*"`); boosted {
				names[len(names)-1] = translate.Quote("*^" + boost)
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
func allToMultiMatch(_ *Exchange, n *Node) error {
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
		case strings.EqualFold(query.Get("operator").String(), "and"):
			query.SetString("type", "cross_fields") // words may lie in different fields
			query.Drop("fuzziness")
		}
		query.Set("fields", `["*"]`)
		query.Set("lenient", "true")
		n.Replace(`{"multi_match":` + query.Raw() + `}`)
		return nil
	}
	return nil
}
