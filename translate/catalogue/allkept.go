package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// What an application says of _all and include_in_all is kept in the mapping of
// newer clusters, in an object field of our own that holds no data: its members
// are the paths of fields, "_all" for the field itself and "*" for what holds of
// all fields, and the value is their "dynamic". So a later mapping adds to it
// without touching what is there.

// keepAll writes what a mapping says of _all into the field of our own.
func keepAll(_ *Exchange, n *Node) error {
	if !n.IsObject() || !strings.Contains(n.Raw(), `_all"`) {
		return nil
	}
	var kept object
	keep := func(path string, value gjson.Result) {
		if value.Exists() && !value.IsObject() {
			flag := "false"
			if isTrue(value) {
				flag = "true"
			}
			kept.set(translate.EscapeType(path), `{"type":"object","dynamic":"`+flag+`"}`)
		}
	}
	keep("_all", member(n.Get("_all"), "enabled"))
	keep("*", n.Get("include_in_all"))
	eachProperty(n.Get("properties"), "", func(path string, field gjson.Result) {
		keep(path, member(field, "include_in_all"))
	})
	if kept.len() == 0 {
		return nil
	}
	var properties object
	properties.addAll(n.Get("properties"))
	properties.set(translate.AllField, `{"type":"object","properties":`+kept.String()+`}`)
	n.Set("properties", properties.String())
	return nil
}

// eachProperty visits the fields of a mapping, without those of multi-fields.
func eachProperty(properties gjson.Result, prefix string, visit func(path string, field gjson.Result)) {
	if !properties.IsObject() {
		return
	}
	properties.ForEach(func(name, field gjson.Result) bool {
		path := prefix + name.String()
		visit(path, field)
		eachProperty(member(field, "properties"), path+".", visit)
		return true
	})
}

// showAll writes what was kept of _all as the application wrote it.
func showAll(_ *Exchange, n *Node) error {
	properties := n.Get("properties")
	own := member(properties, translate.AllField)
	if !own.Exists() {
		return nil
	}
	kept := map[string]string{}
	member(own, "properties").ForEach(func(path, entry gjson.Result) bool {
		kept[translate.UnescapeType(path.String())] = member(entry, "dynamic").String()
		return true
	})
	var shown object
	shown.addAll(properties)
	shown.drop(translate.AllField)
	rest := includeInAll(gjson.Parse(shown.String()), "", kept)
	if enabled, ok := kept["_all"]; ok {
		n.InsertAfter("", "_all", `{"enabled":`+enabled+`}`)
	}
	if included, ok := kept["*"]; ok {
		n.Set("include_in_all", included)
	}
	if n.Set("properties", rest); shown.len() == 0 {
		n.Drop("properties")
	}
	return nil
}

// includeInAll writes into fields whether they belong to _all.
func includeInAll(properties gjson.Result, prefix string, kept map[string]string) string {
	var fields object
	properties.ForEach(func(name, field gjson.Result) bool {
		path := prefix + name.String()
		var f object
		f.addAll(field)
		if included, ok := kept[path]; ok {
			f.set("include_in_all", included)
		}
		if below := member(field, "properties"); below.IsObject() {
			f.set("properties", includeInAll(below, path+".", kept))
		}
		fields.set(name.String(), f.String())
		return true
	})
	return fields.String()
}

// hideAllCaps takes the field of our own out of the capabilities of fields.
func hideAllCaps(_ *Exchange, n *Node) error {
	edit(n, "fields", func(fields *Node) {
		fields.DropIf(func(name string) bool {
			return name == translate.AllField || strings.HasPrefix(name, translate.AllField+".")
		})
	})
	return nil
}

// fieldsOfAll are the fields that stand for _all in a search, as JSON: all, or those
// that belong to it where an application has left some out.
func fieldsOfAll(x *Exchange) (string, error) {
	indices, err := searchedFacts(x)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(indices, leavesFieldsOut) {
		return everyField, nil
	}
	var names []string
	for _, f := range indices {
		for name, field := range f.Fields {
			if slices.Contains(inAllTypes, field.Type) && isInAll(f, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 || len(names) > maxAllFields {
		return everyField, nil
	}
	return quoteAll(names), nil
}

// maxAllFields bounds how many fields a query names: a cluster takes 1024 clauses.
const maxAllFields = 1000

// inAllTypes are the types whose values _all held.
var inAllTypes = []string{"text", "keyword", "long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "date", "boolean", "ip"}

func leavesFieldsOut(f translate.IndexFacts) bool {
	for path, in := range f.InAll {
		if !in && path != "_all" {
			return true
		}
	}
	return false
}

// isInAll reports whether a field belonged to _all: the nearest that says so
// decides, of itself and the objects around it.
func isInAll(f translate.IndexFacts, name string) bool {
	for path := name; ; {
		if in, ok := f.InAll[path]; ok {
			return in
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			break
		}
		path = path[:i]
	}
	in, ok := f.InAll["*"]
	return in || !ok
}

// onlyWithAll makes a query that stands for one on _all find nothing in indices
// that had none.
func onlyWithAll(x *Exchange, query string) (string, error) {
	indices, err := searchedFacts(x)
	if err != nil {
		return "", err
	}
	var without []string
	for _, f := range indices {
		if in, ok := f.InAll["_all"]; ok && !in {
			without = append(without, f.Name)
		}
	}
	switch {
	case len(without) == 0:
		return query, nil
	case len(without) == len(indices):
		return `{"match_none":{}}`, nil
	}
	return `{"bool":{"must":[` + query + `],"must_not":[` + inIndices(x, without) + `]}}`, nil
}

// searchedFacts are what is known of the indices that are searched.
func searchedFacts(x *Exchange) ([]translate.IndexFacts, error) {
	if x.Facts == nil {
		return nil, nil
	}
	names, err := searchedIndices(x)
	if err != nil {
		return nil, err
	}
	var all []translate.IndexFacts
	for _, name := range names {
		f, ok, err := x.Facts.Index(x.Context(), name)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, f)
		}
	}
	return all, nil
}
