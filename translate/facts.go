package translate

import "context"

// Facts are what a translation has to know about the cluster that answers. An
// error means that the cluster could not be asked.
type Facts interface {
	// Index describes what a name of one index or alias stands for. ok is false
	// if there is no such index. Lists and patterns are resolved by Expand.
	Index(ctx context.Context, name string) (f IndexFacts, ok bool, err error)

	// Expand resolves a list, an alias, a pattern, "_all" or "" to the names of
	// the concrete indices, sorted. Names that do not exist are left out.
	Expand(ctx context.Context, expression string) ([]string, error)

	// Learn remembers the type that an application uses for an index on a
	// cluster that has no types (7 and later): it is kept in the mapping's
	// _meta. One that the index has already stays. With an error the mapping
	// does not tell the type yet, as far as is known.
	Learn(ctx context.Context, index, mappingType string) error

	// AddType makes sure, before it returns, that an index of a cluster without
	// types (6 and later) holds documents of a type, beside those of others: the
	// first type of an index is its Type, others are its Further or, if types are
	// split, its Apart. An index that is missing is created. ok is false if that was
	// not possible; the cluster then says why to whoever writes to it. What it has to
	// change is done in the name of the client, see ClientHeader; that a client may
	// not add a further type is an error.
	AddType(ctx context.Context, index, mappingType string, how TypesSetting) (f IndexFacts, ok bool, err error)
}

// A Gatherer is a Facts that can ask for many indices at once.
type Gatherer interface {
	// Gather asks for the indices that an expression stands for, whose names are
	// given, unless they are known: Index answers without asking then.
	Gather(ctx context.Context, expression string, names []string)
}

// A Forgetter is a Facts that remembers what it was told. It is to forget when a
// request has changed indices, aliases or mappings, so that the next one sees
// the change.
type Forgetter interface {
	// ForgetAll drops what the cluster told, and keeps what was learned.
	ForgetAll()
	// Forget drops also what was learned of these indices: they are gone, and
	// their names may come back with another type.
	Forget(indices ...string)
}

// changesIndices reports whether an API changes what Facts tell.
func changesIndices(api string) bool {
	switch api {
	case "indices.create", "indices.put_mapping", "indices.put_alias", "indices.delete_alias", "indices.update_aliases",
		"indices.rollover", "indices.shrink", "indices.split", "indices.clone", "indices.open", "indices.close", "reindex", "snapshot.restore":
		return true
	}
	return false
}

// IndexFacts are what is known of one concrete index.
type IndexFacts struct {
	Name string // the concrete index

	// Type is the mapping type that the application sees: the real one on 5.x
	// and 6.x, the remembered one on 7 and later, "" if none is known.
	Type string

	// Untold says that the Type is remembered in memory alone, and is to be in the
	// mapping: whoever writes documents of it has it learned once more.
	Untold bool

	// Further are the other types that the index holds, sorted; Parents are the
	// parents of types that have one. On 5.x both are empty.
	Further []string
	Parents map[string]string

	// Apart are the types that have an index of their own, sorted. PartOf is the
	// index that the application knows, if this is one of those.
	Apart  []string
	PartOf string

	// AliasOf are the indices that the alias stands for by which the index was asked
	// for, sorted, if those that the application knows are several; WriteIndex says
	// that this one is the alias's.
	AliasOf    []string
	WriteIndex bool

	// Routing is that which the alias gives to documents by which the index was
	// asked for.
	Routing string
	// InAll says which fields, by full path, an application put into _all or left
	// out: "_all" whether there is that field, "*" what holds of all others.
	InAll map[string]bool

	// Fields are the mapping's fields by full path ("author.name").
	Fields map[string]Field
}

// A Field is one field of a mapping.
type Field struct {
	Type   string // "date", "keyword" ...
	Format string // of dates, "" for the default
}
