package cluster

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

const (
	// factsAge is how long what is known of an index is believed: others may
	// change mappings and pipelines beside the gateway.
	factsAge = 10 * time.Second
	// absentAge is the same for an index that does not exist; it is short since
	// any write may create it.
	absentAge = 300 * time.Millisecond
	// maxFacts bounds the number of names that are remembered.
	maxFacts = 20_000
)

// An Index is what is known of one concrete index.
type Index struct {
	translate.IndexFacts

	UUID    string   // changes when the index is deleted and created again
	Types   []string // real mapping types, sorted; empty on 8.x and for an index without a mapping
	Closed  bool
	Aliases map[string]Alias

	// Leader is the index whose documents this one has got under a name of its own.
	Leader string
	Bare   bool // it has no mapping

	// Pipeline says that an ingest pipeline of the index's settings may change
	// documents on their way in.
	Pipeline bool
}

// An Alias is how one alias points at one index.
type Alias struct {
	IndexRouting string
	WriteIndex   bool
}

// Facts implements translate.Facts for one cluster: answers are cached for some
// seconds, and one question is asked once at a time.
type Facts struct {
	c      *Cluster
	learn  learner
	adding chan struct{} // holds one while a type is added

	mu      sync.Mutex
	entries map[string]factsEntry
	flights map[string]*factsFlight
	learned map[string]string // index → type, where the mapping does not tell
	epoch   int               // counts Forgets: an answer from before one is not kept
}

type factsEntry struct {
	index Index
	ok    bool
	at    time.Time
}

type factsFlight struct {
	done  chan struct{}
	entry factsEntry
	err   error
}

var _ translate.Facts = (*Facts)(nil)

func newFacts(c *Cluster) *Facts {
	f := &Facts{c: c, entries: map[string]factsEntry{}, flights: map[string]*factsFlight{}, learned: map[string]string{}, adding: make(chan struct{}, 1)}
	f.learn = learner{facts: f, slots: make(chan struct{}, learnSlots), lessons: map[string]*lesson{}}
	return f
}

// Index implements translate.Facts. For an index that does not exist the Type
// that was learned for it is told all the same.
func (f *Facts) Index(ctx context.Context, name string) (translate.IndexFacts, bool, error) {
	i, ok, err := f.Lookup(ctx, name)
	return i.IndexFacts, ok, err
}

// Lookup describes what a name of one index or alias stands for; an alias of
// several indices stands for its write index, else for the first. ok is false
// if there is none.
func (f *Facts) Lookup(ctx context.Context, name string) (Index, bool, error) {
	f.mu.Lock()
	if e, found := f.entries[name]; found && e.fresh() {
		defer f.mu.Unlock()
		return e.index, e.ok, nil
	}
	flight := f.flights[name]
	if flight == nil {
		flight = &factsFlight{done: make(chan struct{})}
		f.flights[name] = flight
		epoch := f.epoch
		if !f.c.spawn(func(ctx context.Context) { f.fetch(ctx, name, flight, epoch) }) {
			flight.err = esapi.ErrNotSent
			delete(f.flights, name)
			close(flight.done)
		}
	}
	f.mu.Unlock()

	select {
	case <-flight.done:
		return flight.entry.index, flight.entry.ok, flight.err
	case <-ctx.Done():
		return Index{}, false, ctx.Err()
	}
}

func (e factsEntry) fresh() bool {
	if e.ok {
		return time.Since(e.at) < factsAge
	}
	return time.Since(e.at) < absentAge
}

// fetch asks the cluster and ends the flight.
func (f *Facts) fetch(ctx context.Context, name string, flight *factsFlight, epoch int) {
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	asked := time.Now()
	index, ok, err := f.ask(ctx, name)

	f.mu.Lock()
	defer f.mu.Unlock()
	if index.Name == "" {
		index.Name = name
	}
	if index.Type == "" {
		f.recall(&index, index.Name)
		f.recall(&index, name)
	}
	flight.entry, flight.err = factsEntry{index, ok, asked}, err
	if f.flights[name] == flight {
		delete(f.flights, name)
	}
	if err == nil && f.epoch == epoch {
		if len(f.entries) >= maxFacts {
			clear(f.entries)
		}
		f.entries[name] = flight.entry
	}
	close(flight.done)
}

// ask reads GET /{name}.
func (f *Facts) ask(ctx context.Context, name string) (Index, bool, error) {
	v, err := f.c.Version(ctx)
	if err != nil {
		return Index{}, false, err
	}
	target := Path(name)
	if v.Major == 7 {
		target += "?include_type_name=true" // else the real type is not told
	}
	status, answer, err := f.c.Do(ctx, http.MethodGet, target, nil)
	if err != nil {
		return Index{}, false, err
	}
	if NoIndex(status, answer) {
		return Index{}, false, nil
	}
	if err := f.c.Failed(status, answer); err != nil {
		return Index{}, false, err
	}
	index, ok := choose(v, name, answer)
	index.Routing = index.Aliases[name].IndexRouting
	return index, ok, nil
}

// choose takes the write index, else the first by name, out of an answer to
// GET /{name}. An index of a further type counts as part of the one that the
// application knows, and comes behind it.
func choose(v esapi.Version, name string, answer []byte) (Index, bool) {
	var chosen gjson.Result
	concrete, isPart, writes := "", false, false
	owners := map[string]bool{}
	gjson.ParseBytes(answer).ForEach(func(key, value gjson.Result) bool {
		if !value.IsObject() {
			return true
		}
		owner := ownerOf(v, key.Str, value)
		owners[cmp.Or(owner, key.Str)] = true
		write, part := value.Get("aliases."+gjson.Escape(name)+".is_write_index").Bool(), owner != ""
		better := part == isPart && key.Str < concrete || isPart && !part
		if concrete == "" || write || better && !writes {
			concrete, chosen, isPart, writes = key.Str, value, part, write
		}
		return true
	})
	if concrete == "" {
		return Index{}, false
	}
	index := readIndex(v, concrete, chosen)
	if len(owners) > 1 {
		index.AliasOf, index.WriteIndex = slices.Sorted(maps.Keys(owners)), writes
	}
	return index, true
}

// ownerOf is the index that the application knows, if this is one of a further
// type of it.
func ownerOf(v esapi.Version, name string, o gjson.Result) (owner string) {
	mappings := o.Get("mappings")
	if !strings.Contains(mappings.Raw, translate.PartOfField) {
		return ""
	}
	if v.Major >= 8 {
		owner, _ = partOf(name, mappings.Get("properties"))
		return owner
	}
	mappings.ForEach(func(_, m gjson.Result) bool {
		if m.IsObject() {
			owner, _ = partOf(name, m.Get("properties"))
		}
		return owner == ""
	})
	return owner
}

// readIndex makes an Index of one member of an answer to GET /{name}.
func readIndex(v esapi.Version, name string, o gjson.Result) Index {
	settings := o.Get("settings.index")
	index := Index{
		IndexFacts: translate.IndexFacts{Name: strings.Clone(name), Fields: map[string]translate.Field{}},
		UUID:       settings.Get("uuid").String(),
		Aliases:    map[string]Alias{},
		Pipeline:   named(settings.Get("default_pipeline")) || named(settings.Get("final_pipeline")),
	}
	o.Get("aliases").ForEach(func(alias, a gjson.Result) bool {
		index.Aliases[alias.String()] = Alias{IndexRouting: a.Get("index_routing").String(), WriteIndex: a.Get("is_write_index").Bool()}
		return true
	})
	mapping := o.Get("mappings")
	index.Bare = true
	mapping.ForEach(func(key, m gjson.Result) bool {
		index.Bare = m.Raw == "{}" || key.Str == "_default_"
		return index.Bare
	})
	if v.Major >= 8 {
		index.readMapping(mapping)
		return index
	}
	mapping.ForEach(func(typ, m gjson.Result) bool {
		if typ.Str != "_default_" && m.IsObject() {
			index.Types = append(index.Types, strings.Clone(typ.Str))
			index.readMapping(m)
		}
		return true
	})
	slices.Sort(index.Types)
	if index.Type == "" && len(index.Types) > 0 && (v.Major < 7 || index.Types[0] != "_doc") {
		index.Type = index.Types[0]
	}
	return index
}

func named(pipeline gjson.Result) bool {
	return pipeline.Exists() && pipeline.String() != "" && pipeline.String() != "_none"
}

func (i *Index) readMapping(m gjson.Result) {
	if t := m.Get("_meta.esperanto.type").String(); t != "" {
		i.Type = t
	}
	if leader := m.Get("_meta.esperanto.leader_index").String(); leader != "" {
		i.Leader = leader
	}
	i.readOwnFields(m.Get("properties"))
	readFields(i.Fields, "", m.Get("properties"), 0)
}

// readOwnFields reads which types share the index, which have their own and
// whose it is, and what is left out of _all.
func (i *Index) readOwnFields(properties gjson.Result) {
	properties.Get(translate.TypesField).Get("properties").ForEach(func(name, _ gjson.Result) bool {
		i.Further = append(i.Further, translate.UnescapeType(name.String()))
		return true
	})
	slices.Sort(i.Further)
	marks := properties.Get(translate.ApartField).Get("properties")
	marks.Get(gjson.Escape(translate.EscapeType(i.Name))).Get("properties").ForEach(func(name, _ gjson.Result) bool {
		i.Apart = append(i.Apart, translate.UnescapeType(name.String()))
		return true
	})
	slices.Sort(i.Apart)
	if owner, mappingType := partOf(i.Name, properties); owner != "" {
		i.PartOf, i.Type = owner, mappingType
	}
	properties.Get(translate.AllField).Get("properties").ForEach(func(path, entry gjson.Result) bool {
		if i.InAll == nil {
			i.InAll = map[string]bool{}
		}
		i.InAll[translate.UnescapeType(path.String())] = entry.Get("dynamic").String() != "false"
		return true
	})
	properties.Get(translate.JoinField).Get("relations").ForEach(func(parent, children gjson.Result) bool {
		for _, child := range children.Array() {
			if i.Parents == nil {
				i.Parents = map[string]string{}
			}
			i.Parents[strings.TrimPrefix(child.String(), "#")] = strings.TrimPrefix(parent.String(), "#")
		}
		return true
	})
}

// partOf reads which index this one of a further type belongs to. A copy by
// another name, such as a snapshot that was restored beside it, belongs to none.
func partOf(name string, properties gjson.Result) (owner, mappingType string) {
	properties.Get(translate.PartOfField).Get("properties").ForEach(func(index, types gjson.Result) bool {
		owner = translate.UnescapeType(index.String())
		types.Get("properties").ForEach(func(name, _ gjson.Result) bool {
			mappingType = translate.UnescapeType(name.String())
			return false
		})
		return false
	})
	if name != translate.ApartIndex(owner, mappingType) {
		return "", ""
	}
	return owner, mappingType
}

// readFields flattens properties and multi-fields. The depth is bounded, as the
// cluster's own limit on it is.
func readFields(into map[string]translate.Field, prefix string, properties gjson.Result, depth int) {
	if depth > 50 {
		return
	}
	properties.ForEach(func(name, field gjson.Result) bool {
		path := prefix + name.String()
		if translate.IsOwnField(path) {
			return true
		}
		typ := field.Get("type").String()
		if typ == "" && field.Get("properties").Exists() {
			typ = "object"
		}
		into[path] = translate.Field{Type: typ, Format: field.Get("format").String()}
		readFields(into, path+".", field.Get("properties"), depth+1)
		readFields(into, path+".", field.Get("fields"), depth+1)
		return true
	})
}

// Expand implements translate.Facts. Closed indices are included.
func (f *Facts) Expand(ctx context.Context, expression string) ([]string, error) {
	if f.c.real != nil {
		return f.c.expand(ctx, expression)
	}
	if expression == "" {
		expression = "_all"
	}
	status, answer, err := f.c.Do(ctx, http.MethodGet,
		Path(expression, "_settings", "index.uuid")+"?expand_wildcards=open,closed&ignore_unavailable=true&allow_no_indices=true", nil)
	if err != nil {
		return nil, err
	}
	if NoIndex(status, answer) {
		return nil, nil
	}
	if err := f.c.Failed(status, answer); err != nil {
		return nil, err
	}
	var names []string
	gjson.ParseBytes(answer).ForEach(func(name, _ gjson.Result) bool {
		names = append(names, name.String())
		return true
	})
	slices.Sort(names)
	return names, nil
}

// Forget drops what is known of these indices, under whatever name.
func (f *Facts) Forget(indices ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	clear(f.flights) // who asks from now on must not get an answer from before
	for _, name := range indices {
		delete(f.learned, name) // it may become another index
	}
	for name, e := range f.entries {
		if slices.Contains(indices, name) || slices.Contains(indices, e.index.Name) {
			delete(f.entries, name)
		}
	}
}

// ForgetAll drops all that is known, except what was learned.
func (f *Facts) ForgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	clear(f.flights)
	clear(f.entries)
}
