package translate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
)

// Several mapping types in one index, which 5.x has and newer versions do not.
// The first type's documents look as they would without others. With the setting
// "types merge" documents of a further type lie beside them, with its name in
// their id and in the field TypeField. With "types split" each further type has
// an index of its own, in which its documents are what the application wrote.

// TypesSetting is the setting "types".
type TypesSetting string

const (
	RefuseTypes TypesSetting = "" // an index holds one type, as on 6.x
	MergeTypes  TypesSetting = "merge"
	SplitTypes  TypesSetting = "split"
)

// Fields of our own in the mapping of an index that holds several types. They are
// no _meta, which an application replaces as a whole when it writes its own.
const (
	// ApartField is an object in the mapping alone: it has a member for the index,
	// and that one for each type that has an index of its own. A copy of the index
	// by another name has no part in these.
	ApartField = "esperanto_split"
	// PartOfField is one in the mapping of such an index: it has a member for the
	// index that the application knows, and that one for the type. A copy by another
	// name is no part of that index.
	PartOfField = "esperanto_split_of"

	// TypeField is a keyword that documents of further types have.
	TypeField = "esperanto_type"
	// TypesField is an object in the mapping alone: it has a member for each
	// further type, so that a type is added without touching others.
	TypesField = "esperanto_types"
	// JoinField is a join of the types that have a parent and of their parents.
	JoinField = "esperanto_join"
)

// SentField is a field that no index has: a filter of an alias that asks for types
// carries under it what the application sent.
const SentField = "esperanto_sent"

// IsOwnField reports whether a field of a mapping or a document is one of ours.
func IsOwnField(name string) bool {
	return name == TypeField || name == TypesField || name == JoinField || name == ApartField || name == PartOfField || name == AllField
}

// TypeMark is what stands for a type in TypeField and JoinField. A search in all
// fields for the type's name does not find it.
func TypeMark(mappingType string) string { return "#" + mappingType }

// HasType reports whether an index holds documents of a type, or another index
// does so for it.
func (f *IndexFacts) HasType(mappingType string) bool {
	return mappingType != "" && (f.Type == mappingType || slices.Contains(f.Further, mappingType) || slices.Contains(f.Apart, mappingType))
}

// WithType are the facts of the index when it holds documents of a type, too.
func (f IndexFacts) WithType(mappingType string, how TypesSetting) IndexFacts {
	add := func(types []string) []string {
		types = append(slices.Clone(types), mappingType)
		slices.Sort(types)
		return types
	}
	switch {
	case f.Type == "":
		f.Type = mappingType
	case f.HasType(mappingType):
	case how == SplitTypes:
		f.Apart = add(f.Apart)
	default:
		f.Further = add(f.Further)
	}
	return f
}

// On says where the document of a type and an id, as the application knows them,
// lies on the cluster.
func (f *IndexFacts) On(mappingType, id string) (index, onCluster string) {
	return f.IndexFor(mappingType), f.IDFor(mappingType, id)
}

// Shown is the reverse of On: as what the application knows the document that
// lies in this index under an id.
func (f *IndexFacts) Shown(onCluster string) (index, mappingType, id string) {
	mappingType, id = f.TypeAndID(onCluster)
	return cmp.Or(f.PartOf, f.Name), mappingType, id
}

// IndexFor is the index on the cluster that holds the documents of a type.
func (f *IndexFacts) IndexFor(mappingType string) string {
	if slices.Contains(f.Apart, mappingType) {
		return ApartIndex(f.Name, mappingType)
	}
	return f.Name
}

// ApartIndex is the name of a type's own index.
func ApartIndex(index, mappingType string) string {
	return index + "-" + strings.ToLower(mappingType)
}

// IDFor is the id on the cluster of a document of one of the index's types.
func (f *IndexFacts) IDFor(mappingType, id string) string {
	if slices.Contains(f.Further, mappingType) {
		return mappingType + "#" + id
	}
	return id
}

// TypeAndID is the reverse of IDFor.
func (f *IndexFacts) TypeAndID(id string) (mappingType, own string) {
	if t, rest, ok := strings.Cut(id, "#"); ok && slices.Contains(f.Further, t) {
		return t, rest
	}
	return f.Type, id
}

// RoutingFor is the routing on the cluster of a document that the application
// gave none. A parent of a further type lies where its children do, who are
// routed by the id that the application knows.
func (f *IndexFacts) RoutingFor(mappingType, id string) string {
	if slices.Contains(f.Further, mappingType) && f.IsParent(mappingType) && f.Parents[mappingType] == "" {
		return id
	}
	return ""
}

// IsParent reports whether a type has children.
func (f *IndexFacts) IsParent(mappingType string) bool {
	for _, parent := range f.Parents {
		if parent == mappingType {
			return true
		}
	}
	return false
}

// OwnMembers are the members of ours in a document of a type, as JSON that goes
// in front of its own; parent is the id of its parent, "" if it was given none.
func (f *IndexFacts) OwnMembers(mappingType, parent string) string {
	var members []string
	if slices.Contains(f.Further, mappingType) {
		members = append(members, Quote(TypeField)+":"+Quote(TypeMark(mappingType)))
	}
	if above := f.Parents[mappingType]; above != "" && parent != "" {
		members = append(members, Quote(JoinField)+`:{"name":`+Quote(TypeMark(mappingType))+`,"parent":`+Quote(f.IDFor(above, parent))+`}`)
	} else if above != "" || f.IsParent(mappingType) {
		members = append(members, Quote(JoinField)+":"+Quote(TypeMark(mappingType)))
	}
	return strings.Join(members, ",")
}

// WithMembers puts members in front of those of a JSON object, whose own bytes
// stay as they are. What is no object stays as it is.
func WithMembers(members string, document []byte) []byte {
	rest, isObject := strings.CutPrefix(strings.TrimLeft(string(document), " \t\r\n"), "{")
	if !isObject || members == "" {
		return document
	}
	if !strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "}") {
		members += ","
	}
	return []byte("{" + members + rest)
}

// OwnProperties are the members of a mapping's properties that say which
// further types an index holds, and who is whose parent.
func OwnProperties(further []string, parents map[string]string) string {
	var b strings.Builder
	if len(further) > 0 {
		b.WriteString(Quote(TypeField) + `:{"type":"keyword"},` + Quote(TypesField) + `:{"properties":{`)
		for i, t := range further {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(Quote(EscapeType(t)) + `:{"type":"object"}`)
		}
		b.WriteString("}}")
	}
	if len(parents) == 0 {
		return b.String()
	}
	children := map[string][]string{}
	for child, parent := range parents {
		children[parent] = append(children[parent], Quote(TypeMark(child)))
	}
	if b.Len() > 0 {
		b.WriteByte(',')
	}
	b.WriteString(Quote(JoinField) + `:{"type":"join","relations":{`)
	for i, parent := range slices.Sorted(maps.Keys(children)) {
		if i > 0 {
			b.WriteByte(',')
		}
		slices.Sort(children[parent])
		b.WriteString(Quote(TypeMark(parent)) + ":[" + strings.Join(children[parent], ",") + "]")
	}
	b.WriteString("}}")
	return b.String()
}

// ApartProperty is the member of a mapping's properties that says that a type of
// the index has one of its own.
func ApartProperty(index, mappingType string) string { return markOf(ApartField, index, mappingType) }

func markOf(field, index, mappingType string) string {
	return Quote(field) + `:{"properties":{` + Quote(EscapeType(index)) + `:{"properties":{` + Quote(EscapeType(mappingType)) + `:{"type":"object"}}}}}`
}

// PartOfProperty is the member of the properties of a type's own index that says
// whose it is.
func PartOfProperty(index, mappingType string) string { return markOf(PartOfField, index, mappingType) }

// EscapeType writes a type's name as a field's, in which a dot would part.
func EscapeType(mappingType string) string {
	return strings.NewReplacer("%", "%25", ".", "%2E").Replace(mappingType)
}

// UnescapeType is the reverse of EscapeType.
func UnescapeType(field string) string {
	return strings.NewReplacer("%25", "%", "%2E", ".").Replace(field)
}

type typesKey struct{}

// WithTypes sets what becomes of several types for the exchanges of a context.
func WithTypes(ctx context.Context, setting TypesSetting) context.Context {
	return context.WithValue(ctx, typesKey{}, setting)
}

// Types is what becomes of several types in an index.
func (x *Exchange) Types() TypesSetting {
	return x.setting
}

// MergesTypes reports whether several types share an index of the cluster.
func (x *Exchange) MergesTypes() bool { return x.Types() == MergeTypes }

// SplitsTypes reports whether further types have indices of their own.
func (x *Exchange) SplitsTypes() bool { return x.Types() == SplitTypes }
