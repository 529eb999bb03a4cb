package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

func init() {
	translate.Register(&Change{
		ID: "RESP-01", Name: "TooLongValuesAreIgnored", Since: V(7, 14),
		Doc: `"_ignored" also names keyword fields whose values are longer than ignore_above.`,
		OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{
			at(translate.Hit, onlyMalformed), at(translate.Doc, onlyMalformed),
		}},
		NewClient: Direction{Fidelity: translate.Lossy, Loses: "too long values in _ignored"},
	})
}

// malformedNever are the types of fields whose values are ignored when they are
// too long, and never because they are malformed.
var malformedNever = []string{"keyword", "wildcard", "icu_collation_keyword"}

// onlyMalformed takes the fields with too long values out of _ignored.
func onlyMalformed(x *Exchange, n *Node) error {
	ignored := n.Get("_ignored")
	if !ignored.IsArray() || x.Facts == nil {
		return nil
	}
	f, ok, err := x.Facts.Index(x.Context(), n.Get("_index").String())
	if err != nil || !ok {
		return err
	}
	var kept []string
	all := 0
	ignored.ForEach(func(_, name gjson.Result) bool {
		all++
		if !slices.Contains(malformedNever, f.Fields[name.String()].Type) {
			kept = append(kept, name.Raw)
		}
		return true
	})
	switch {
	case len(kept) == 0:
		n.Drop("_ignored")
	case len(kept) < all:
		n.Set("_ignored", "["+strings.Join(kept, ",")+"]")
	}
	return nil
}
