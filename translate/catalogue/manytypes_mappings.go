package catalogue

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Mappings of indices that several types share (types merge).

// shareMappings makes the mapping of an index, or of a template, with several
// types one.
func shareMappings(x *Exchange, n *Node) error {
	if !x.MergesTypes() || !n.IsObject() {
		return nil
	}
	if x.Asked.API == "indices.put_mapping" {
		return shareMappingBody(x, n)
	}
	parents := map[string]string{}
	var types []string
	for _, t := range n.Keys() {
		if t == "_default_" || translate.IsMappingRoot(t) || slices.Contains(types, t) {
			continue
		}
		types = append(types, t)
		if parent := parentIn(n.Get(t)); parent != "" {
			parents[t] = parent
		}
	}
	types = firstType(types, parents)
	if len(types) <= 1 {
		return nil
	}
	var all object
	var properties object
	properties.addAll(gjson.Parse(`{` + translate.OwnProperties(types[1:], parents) + `}`))
	routed := true
	for i, t := range types {
		mapping := n.Get(t)
		mergeProperties(&properties, member(mapping, "properties"))
		routed = routed && isTrue(member(member(mapping, "_routing"), "required"))
		mapping.ForEach(func(key, value gjson.Result) bool {
			switch {
			case key.Str == "dynamic_templates" && value.IsArray():
				own := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(orElse(all.values[key.Str], "[]")), "["), "]")
				added := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(value.Raw), "["), "]")
				all.set(key.Str, "["+strings.Trim(own+","+added, ", \n")+"]")
			case i == 0 && key.Str != "properties" && key.Str != "_parent":
				all.set(key.Str, value.Raw)
			}
			return true
		})
	}
	if !routed {
		all.drop("_routing") // it would be asked of the documents of all types
	}
	all.set("properties", properties.String())
	shared := `{` + translate.Quote(types[0]) + `:` + all.String()
	if d := n.Get("_default_"); d.Exists() {
		shared += `,"_default_":` + d.Raw
	}
	n.Replace(shared + `}`)
	return nil
}

// firstType puts the type in front whose documents keep their ids: one that has
// children, if there is one, else the first of the mapping. Parents that have no
// mapping yet are added.
func firstType(types []string, parents map[string]string) []string {
	for _, child := range slices.Sorted(maps.Keys(parents)) {
		if parent := parents[child]; !slices.Contains(types, parent) {
			types = append(types, parent)
		}
	}
	for i, t := range types {
		isParent := slices.Contains(slices.Collect(maps.Values(parents)), t)
		if isParent && parents[t] == "" {
			return append([]string{t}, slices.Delete(slices.Clone(types), i, i+1)...)
		}
	}
	return types
}

// parentIn is the parent that a mapping names for its type.
func parentIn(mapping gjson.Result) string {
	return member(member(mapping, "_parent"), "type").String()
}

// mergeProperties adds fields to others. Of a field that is there already the
// fields below it are added: of different types 5.x takes only equal ones.
func mergeProperties(into *object, from gjson.Result) {
	from.ForEach(func(key, field gjson.Result) bool {
		name := key.String()
		if !into.has(name) {
			into.set(name, field.Raw)
			return true
		}
		var both object
		both.addAll(gjson.Parse(into.values[name]))
		for _, inner := range []string{"properties", "fields"} {
			if more := member(field, inner); more.IsObject() {
				var below object
				below.addAll(gjson.Parse(both.values[inner]))
				mergeProperties(&below, more)
				both.set(inner, below.String())
			}
		}
		into.set(name, both.String())
		return true
	})
}

// sharePutMapping lets the mapping of a further type go to the index's first one.
// Which that is may depend on the body, if the index has none yet.
func sharePutMapping(x *Exchange, _ *Node) error {
	t, index := x.Asked.Type, x.Endpoint.Index
	if !x.MergesTypes() || x.Asked.API != "indices.put_mapping" || t == "" || x.Facts == nil {
		return nil
	}
	if !isOneIndex(index) {
		names, err := indicesOf(x, index)
		if err != nil {
			return err
		}
		for _, name := range names {
			if f, err := sharedFacts(x, name); err != nil {
				return err
			} else if f != nil && f.Type != "" && f.Type != t {
				return x.Refuse("a mapping of the type [%s] put to several indices, of which [%s] is one of [%s],", t, name, f.Type)
			}
		}
		return nil
	}
	f, err := sharedFacts(x, index)
	if err != nil || f == nil {
		return err
	}
	x.Endpoint.Type = f.Type
	x.Edited()
	return nil
}

// shareMappingBody makes the body of put mapping one for the index that types
// share.
func shareMappingBody(x *Exchange, n *Node) error {
	t := x.Asked.Type
	f, err := sharedFacts(x, x.Endpoint.Index)
	if err != nil || f == nil || t == "" {
		return err
	}
	if inner := n.Get(t); n.Len() == 1 && inner.IsObject() {
		n.Replace(inner.Raw)
	}
	parent := parentIn(gjson.Parse(n.Raw()))
	if err := checkParent(f, t, parent); err != nil {
		return err
	}
	if f.Type == "" {
		added, ok, err := x.AddType(x.Context(), x.Endpoint.Index, orElse(parent, t), x.Types())
		if err != nil || !ok {
			return err
		}
		f = &added
	}
	if x.Cluster.Before(V(7, 0)) {
		x.Endpoint.Type = f.Type
	}
	if t == f.Type && parent == "" {
		return nil
	}
	var further []string
	for _, other := range []string{t, parent} {
		if other != "" && other != f.Type {
			further = append(further, other)
		}
	}
	var parents map[string]string
	if parent != "" {
		parents = maps.Clone(f.Parents)
		if parents == nil {
			parents = map[string]string{}
		}
		parents[t] = parent
	}
	var properties object
	properties.addAll(gjson.Parse(`{` + translate.OwnProperties(further, parents) + `}`))
	mergeProperties(&properties, n.Get("properties"))
	n.Replace(`{"properties":` + properties.String() + `}`)
	return nil
}

// checkParent refuses what 5.x refuses: a type gets its parent with its mapping,
// before the parent has one.
func checkParent(f *translate.IndexFacts, t, parent string) error {
	switch before := f.Parents[t]; {
	case parent == "" || parent == before:
		return nil
	case f.HasType(t):
		return esapi.IllegalArgument("The _parent field's type option can't be changed: [" + orElse(before, "null") + "]->[" + parent + "]")
	case f.HasType(parent) && !f.IsParent(parent):
		return esapi.IllegalArgument("can't add a _parent field that points to an already existing type, that isn't already a parent")
	}
	return nil
}

// furtherTypes are the types that share the index of a mapping with its first
// one, with their parents.
func furtherTypes(mapping gjson.Result) (further []string, parents map[string]string) {
	properties := member(mapping, "properties")
	member(member(properties, translate.TypesField), "properties").ForEach(func(name, _ gjson.Result) bool {
		further = append(further, translate.UnescapeType(name.String()))
		return true
	})
	member(member(properties, translate.JoinField), "relations").ForEach(func(parent, children gjson.Result) bool {
		for _, child := range children.Array() {
			if parents == nil {
				parents = map[string]string{}
			}
			parents[strings.TrimPrefix(child.String(), "#")] = strings.TrimPrefix(parent.String(), "#")
		}
		return true
	})
	return further, parents
}

// showSharedMappings shows the mapping that types share for each of them.
func showSharedMappings(x *Exchange, n *Node) error {
	mappings := n.Get("mappings")
	if !x.MergesTypes() || !mappings.IsObject() || x.Asked.API == "cluster.state" {
		return nil
	}
	asked := askedTypes(x)
	shared := false
	var shown object
	mappings.ForEach(func(name, mapping gjson.Result) bool {
		further, parents := furtherTypes(mapping)
		if further == nil && parents == nil {
			shown.set(name.String(), mapping.Raw)
			return true
		}
		shared = true
		for _, t := range append([]string{name.String()}, further...) {
			if asked == nil || matchesAny(asked, t) {
				shown.set(t, mappingOfType(mapping, parents[t]))
			}
		}
		return true
	})
	if shared {
		n.Set("mappings", shown.String())
	}
	return nil
}

// mappingOfType is a shared mapping as the client wrote it for a type.
func mappingOfType(mapping gjson.Result, parent string) string {
	var o, properties object
	if parent != "" {
		o.set("_parent", `{"type":`+translate.Quote(parent)+`}`)
		o.set("_routing", `{"required":true}`)
	}
	o.addAll(mapping)
	properties.addAll(member(mapping, "properties"))
	for _, own := range []string{translate.TypeField, translate.TypesField, translate.JoinField} {
		properties.drop(own)
	}
	if o.set("properties", properties.String()); properties.len() == 0 {
		o.drop("properties")
	}
	return o.String()
}

// showSharedFields shows the fields of an index for each type that shares it.
func showSharedFields(x *Exchange, n *Node) error {
	mappings := n.Get("mappings")
	f, err := sharedFacts(x, n.Name())
	if err != nil || f == nil || !sharing(f) || !mappings.IsObject() {
		return err
	}
	asked := askedTypes(x)
	var shown object
	mappings.ForEach(func(_, fields gjson.Result) bool {
		inner := translate.NewNode(fields.Raw)
		inner.DropIf(func(name string) bool { return strings.HasPrefix(name, "esperanto_") })
		for _, t := range append([]string{f.Type}, f.Further...) {
			if asked == nil || matchesAny(asked, t) {
				shown.set(t, inner.Raw())
			}
		}
		return true
	})
	n.Set("mappings", shown.String())
	return nil
}
