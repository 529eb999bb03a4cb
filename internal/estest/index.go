package estest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// An index is one index with its documents.
type index struct {
	name, uuid string
	typ        string // mapping type, before 7.0
	closed     bool
	gc         time.Duration
	created    time.Time
	meta       json.RawMessage
	fields     map[string]string // top-level field → type
	settings   map[string]json.RawMessage
	aliases    map[string]alias
	docs       map[string]*document // by id and routing: another routing is another shard
}

type alias struct {
	IndexRouting  string          `json:"index_routing,omitempty"`
	SearchRouting string          `json:"search_routing,omitempty"`
	WriteIndex    bool            `json:"is_write_index,omitempty"`
	Filter        json.RawMessage `json:"filter,omitempty"`
}

// mappingJSON is the mapping as GET shows it.
func (c *Cluster) mappingJSON(i *index, typed bool) any {
	m := map[string]any{}
	if len(i.fields) > 0 {
		properties := map[string]any{}
		for name, typ := range i.fields {
			properties[name] = map[string]any{"type": typ}
		}
		m["properties"] = properties
	}
	if i.meta != nil {
		m["_meta"] = i.meta
	}
	switch {
	case c.Version.Major < 7 && i.typ == "":
		return map[string]any{}
	case c.Version.Major < 7:
		return map[string]any{i.typ: m}
	case typed && len(m) > 0:
		return map[string]any{"_doc": m}
	}
	return m
}

func (c *Cluster) show(e esapi.Endpoint, r *esapi.Request) (int, any, *failure) {
	found := c.resolve(e.Index)
	if len(found) == 0 && !r.Params.Bool("ignore_unavailable") && e.Index != "" {
		return 0, nil, &failure{404, "index_not_found_exception", "no such index [" + e.Index + "]"}
	}
	answer := map[string]any{}
	for _, i := range found {
		o := map[string]any{}
		if e.API == "indices.get" || e.API == "indices.get_mapping" {
			o["mappings"] = c.mappingJSON(i, r.Params.Bool("include_type_name"))
		}
		if e.API == "indices.get" || e.API == "indices.get_alias" {
			o["aliases"] = i.aliases
		}
		if e.API == "indices.get" || e.API == "indices.get_settings" {
			settings := map[string]any{"uuid": i.uuid, "number_of_shards": "1", "provided_name": i.name, "creation_date": strconv.FormatInt(i.created.UnixMilli(), 10)}
			for k, v := range i.settings {
				settings[k] = v
			}
			if i.blocked("metadata") {
				return 0, nil, &failure{403, "cluster_block_exception", "index [" + i.name + "] blocked by: [FORBIDDEN/9/index metadata (api)];"}
			}
			if e.Name != "" {
				maps.DeleteFunc(settings, func(k string, _ any) bool {
					return !slices.ContainsFunc(strings.Split(e.Name, ","), func(pattern string) bool {
						before, wild := strings.CutSuffix(strings.TrimPrefix(pattern, "index."), "*")
						return k == before || wild && strings.HasPrefix(k, before)
					})
				})
			}
			if r.Params.Bool("flat_settings") {
				flat := map[string]any{}
				for k, v := range settings {
					flat["index."+k] = v
				}
				o["settings"] = flat
				if r.Params.Bool("include_defaults") {
					o["defaults"] = i.defaults()
				}
			} else {
				o["settings"] = map[string]any{"index": settings}
			}
		}
		answer[i.name] = o
	}
	return 200, answer, nil
}

func (c *Cluster) createIndex(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	if c.indices[e.Index] != nil {
		typ := "resource_already_exists_exception"
		if c.Version.Major == 5 {
			typ = "index_already_exists_exception"
		}
		return 0, nil, &failure{400, typ, "index [" + e.Index + "] already exists"}
	}
	if len(c.resolve(e.Index)) > 0 {
		return 0, nil, &failure{400, "invalid_index_name_exception", "Invalid index name [" + e.Index + "], already exists as alias"}
	}
	i := c.newIndex(e.Index, "")
	fail := func() *failure {
		if f := c.set(i, gjson.GetBytes(body, "settings")); f != nil {
			return f
		}
		mappings := gjson.GetBytes(body, "mappings")
		if c.Version.Major < 7 || r.Params.Bool("include_type_name") {
			var f *failure
			mappings.ForEach(func(typ, m gjson.Result) bool {
				if c.Version.Major < 7 {
					i.typ = typ.String()
				}
				f = i.merge(m)
				return f == nil
			})
			if f != nil {
				return f
			}
		} else if f := i.merge(mappings); f != nil {
			return f
		}
		var f *failure
		gjson.GetBytes(body, "aliases").ForEach(func(name, a gjson.Result) bool {
			f = c.addAlias(i, name.String(), a)
			return f == nil
		})
		return f
	}()
	if fail != nil {
		delete(c.indices, e.Index)
		return 0, nil, fail
	}
	return 200, map[string]any{"acknowledged": true, "shards_acknowledged": true, "index": e.Index}, nil
}

func readAlias(a gjson.Result) alias {
	var out alias
	json.Unmarshal([]byte(a.Raw), &out)
	if r := a.Get("routing"); r.Exists() {
		out.IndexRouting, out.SearchRouting = r.String(), r.String()
	}
	return out
}

func (c *Cluster) deleteIndex(e esapi.Endpoint) (int, any, *failure) {
	found := c.resolve(e.Index)
	if len(found) == 0 {
		return 0, nil, &failure{404, "index_not_found_exception", "no such index [" + e.Index + "]"}
	}
	if c.indices[e.Index] == nil && c.Version.Major > 5 && !strings.ContainsAny(e.Index, "*,") { // 5.x deletes what an alias stands for
		return 0, nil, matchesAlias(e.Index)
	}
	for _, i := range found {
		delete(c.indices, i.name)
	}
	c.state++
	return 200, acknowledged, nil
}

// merge adds a mapping's fields.
func (i *index) merge(m gjson.Result) *failure {
	if !m.IsObject() {
		return nil
	}
	var fail *failure
	m.ForEach(func(key, v gjson.Result) bool {
		switch key.String() {
		case "properties", "_meta", "dynamic", "_source", "_routing", "date_detection", "dynamic_templates", "numeric_detection":
		default:
			fail = &failure{400, "mapper_parsing_exception", "Root mapping definition has unsupported parameters: [" + key.String() + "]"}
		}
		return fail == nil
	})
	m.Get("properties").ForEach(func(name, f gjson.Result) bool {
		typ := f.Get("type").String()
		if old := i.fields[name.String()]; old != "" && old != typ && fail == nil {
			fail = &failure{400, "illegal_argument_exception", fmt.Sprintf("mapper [%s] cannot be changed from type [%s] to [%s]", name, old, typ)}
		}
		return true
	})
	if fail != nil {
		return fail
	}
	m.Get("properties").ForEach(func(name, f gjson.Result) bool {
		i.fields[name.String()] = f.Get("type").String()
		return true
	})
	if meta := m.Get("_meta"); meta.Exists() {
		i.meta = json.RawMessage(meta.Raw)
	}
	return nil
}

func (c *Cluster) putMapping(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	found := c.resolve(e.Index)
	if len(found) == 0 {
		return 0, nil, &failure{404, "index_not_found_exception", "no such index [" + e.Index + "]"}
	}
	m := gjson.ParseBytes(body)
	for _, i := range found {
		if c.Version.Major < 7 {
			if i.typ != "" && i.typ != e.Type {
				return 0, nil, &failure{400, "illegal_argument_exception", "Rejecting mapping update to [" + i.name + "] as the final mapping would have more than 1 type"}
			}
			i.typ = e.Type
		}
		if m.Get(gjson.Escape(e.Type)).IsObject() && e.Type != "" {
			m = m.Get(gjson.Escape(e.Type))
		}
		if f := i.merge(m); f != nil {
			return 0, nil, f
		}
	}
	c.state++
	return 200, acknowledged, nil
}

var knownSettings = []string{"number_of_shards", "number_of_replicas", "refresh_interval", "gc_deletes", "default_pipeline", "blocks.write", "blocks.read_only", "blocks.metadata", "max_result_window", "uuid", "provided_name", "creation_date"}

// defaults are what an index has that is not set.
func (i *index) defaults() map[string]any {
	all := map[string]any{}
	for key, value := range map[string]string{"number_of_replicas": "1", "refresh_interval": "1s", "gc_deletes": "60s", "max_result_window": "10000"} {
		if _, ok := i.settings[key]; !ok {
			all["index."+key] = value
		}
	}
	return all
}

// blocked reports whether an index has one of its blocks.
func (i *index) blocked(what string) bool { return string(i.settings["blocks."+what]) == `"true"` }

// Setting is the setting of an index, without "index.", or "".
func (c *Cluster) Setting(name, key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.indices[name]; i != nil {
		return strings.Trim(string(i.settings[key]), `"`)
	}
	return ""
}

// set changes settings, given flat or nested, with or without "index.".
func (c *Cluster) set(i *index, s gjson.Result) *failure {
	var fail *failure
	s.ForEach(func(k, v gjson.Result) bool {
		key := strings.TrimPrefix(k.String(), "index.")
		switch {
		case key == "index" && v.IsObject():
			fail = c.set(i, v)
		case key == "final_pipeline" && c.Version.AtLeast(esapi.V(7, 5)) && v.Type != gjson.Null:
			i.settings[key] = json.RawMessage(fmt.Sprintf("%q", v.String()))
		case key == "final_pipeline" && c.Version.AtLeast(esapi.V(7, 5)):
			delete(i.settings, key)
		case !slices.Contains(knownSettings, key):
			fail = &failure{400, "illegal_argument_exception", "unknown setting [index." + key + "] please check that any required plugins are installed"}
		case v.Type == gjson.Null:
			delete(i.settings, key)
			if key == "gc_deletes" {
				i.gc = time.Minute
			}
		default:
			i.settings[key] = json.RawMessage(fmt.Sprintf("%q", v.String()))
			if key == "gc_deletes" {
				i.gc, _ = time.ParseDuration(v.String())
				if c.prompt {
					c.forget(i)
				}
			}
		}
		return fail == nil
	})
	return fail
}

// forget drops the deletions that an index does not remember any more: a longer memory does
// not bring them back.
func (c *Cluster) forget(i *index) {
	for k := range i.docs {
		c.current(i, k)
	}
}

func (c *Cluster) putSettings(e esapi.Endpoint, body []byte) (int, any, *failure) {
	if fail := c.there(e.Index, false); fail != nil {
		return 0, nil, fail
	}
	for _, i := range c.resolve(e.Index) {
		s := gjson.ParseBytes(body)
		if inner := s.Get("settings"); inner.IsObject() {
			s = inner
		}
		only := ""
		s.ForEach(func(k, _ gjson.Result) bool { only += strings.TrimPrefix(k.String(), "index."); return true })
		if i.blocked("metadata") && only != "blocks.metadata" || i.blocked("read_only") && only != "blocks.read_only" {
			return 0, nil, &failure{403, "cluster_block_exception", "index [" + i.name + "] blocked by: [FORBIDDEN/9/index metadata (api)];"}
		}
		if f := c.set(i, s); f != nil {
			return 0, nil, f
		}
	}
	c.state++
	return 200, acknowledged, nil
}

// updateAliases carries out all actions, or none.
func (c *Cluster) updateAliases(body []byte) (int, any, *failure) {
	before := maps.Clone(c.indices)
	aliases := map[*index]map[string]alias{}
	for _, i := range c.indices {
		aliases[i] = maps.Clone(i.aliases)
	}
	var fail *failure
	gjson.GetBytes(body, "actions").ForEach(func(_, wrapped gjson.Result) bool {
		wrapped.ForEach(func(verb, a gjson.Result) bool {
			name := a.Get("index").String()
			found := c.resolve(name)
			switch {
			case len(found) == 0:
				fail = &failure{404, "index_not_found_exception", "no such index [" + name + "]"}
			case c.indices[name] == nil && c.Version.Major > 5 && !strings.ContainsAny(name, "*,"):
				fail = matchesAlias(name)
			}
			for _, i := range found {
				switch {
				case fail != nil:
				case verb.String() == "add":
					fail = c.addAlias(i, a.Get("alias").String(), a)
				case verb.String() == "remove":
					delete(i.aliases, a.Get("alias").String())
				case verb.String() == "remove_index":
					delete(c.indices, i.name)
				}
			}
			return fail == nil
		})
		return fail == nil
	})
	if fail != nil {
		c.indices = before
		for i, was := range aliases {
			i.aliases = was
		}
		return 0, nil, fail
	}
	c.state++
	return 200, acknowledged, nil
}

func matchesAlias(name string) *failure {
	return &failure{400, "illegal_argument_exception", "The provided expression [" + name + "] matches an alias, specify the corresponding concrete indices instead."}
}

// addAlias gives an index an alias.
func (c *Cluster) addAlias(i *index, name string, a gjson.Result) *failure {
	if c.indices[name] != nil {
		return takenByIndex(name)
	}
	i.aliases[name] = readAlias(a)
	return nil
}

func takenByIndex(name string) *failure {
	return &failure{400, "invalid_alias_name_exception", "Invalid alias name [" + name + "]: an index or data stream exists with the same name as the alias"}
}

// rollover makes the next index of an alias: its name is that of the former one with a 2 behind it,
// or the one that is asked for.
func (c *Cluster) rollover(e esapi.Endpoint) (int, any, *failure) {
	found := c.resolve(e.Alias)
	if len(found) != 1 {
		return 0, nil, &failure{400, "illegal_argument_exception", "source alias maps to multiple indices"}
	}
	from, to := found[0], e.Target
	if to == "" {
		to = found[0].name + "2"
	}
	if len(c.resolve(to)) > 0 {
		return 0, nil, &failure{400, "resource_already_exists_exception", "index [" + to + "] already exists"}
	}
	i := c.newIndex(to, "")
	i.aliases[e.Alias] = from.aliases[e.Alias]
	delete(from.aliases, e.Alias)
	return 200, map[string]any{"acknowledged": true, "old_index": from.name, "new_index": to, "rolled_over": true, "dry_run": false}, nil
}

// resize makes an index with the documents and mapping of another one.
func (c *Cluster) resize(e esapi.Endpoint, body []byte) (int, any, *failure) {
	found := c.resolve(e.Index)
	switch {
	case len(found) != 1:
		return 0, nil, &failure{404, "index_not_found_exception", "no such index [" + e.Index + "]"}
	case len(c.resolve(e.Target)) > 0:
		return 0, nil, &failure{400, "resource_already_exists_exception", "index [" + e.Target + "] already exists"}
	}
	i := c.newIndex(e.Target, found[0].typ)
	i.meta, i.fields = found[0].meta, maps.Clone(found[0].fields)
	for k, d := range found[0].docs {
		i.docs[k] = &document{id: d.id, routing: d.routing, version: d.version, source: d.source, deleted: d.deleted}
	}
	gjson.GetBytes(body, "aliases").ForEach(func(name, a gjson.Result) bool {
		i.aliases[name.String()] = readAlias(a)
		return true
	})
	return 200, map[string]any{"acknowledged": true, "shards_acknowledged": true, "index": e.Target}, nil
}

func (c *Cluster) oneAlias(e esapi.Endpoint, body []byte) (int, any, *failure) {
	if fail := c.there(e.Index, false); fail != nil {
		return 0, nil, fail
	}
	for _, i := range c.resolve(e.Index) {
		if e.API == "indices.put_alias" {
			if fail := c.addAlias(i, e.Name, gjson.ParseBytes(body)); fail != nil {
				return 0, nil, fail
			}
		} else {
			delete(i.aliases, e.Name)
		}
	}
	c.state++
	return 200, acknowledged, nil
}

// Fields returns the field types of an index, nil if it does not exist.
func (c *Cluster) Fields(name string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.indices[name]; i != nil {
		return maps.Clone(i.fields)
	}
	return nil
}

// Indices lists the indices, sorted.
func (c *Cluster) Indices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.indices))
}

// Aliases lists the aliases of an index, sorted.
func (c *Cluster) Aliases(name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.indices[name]; i != nil {
		return slices.Sorted(maps.Keys(i.aliases))
	}
	return nil
}

// Show is what an index is made of beside its documents, "" if it does not exist.
func (c *Cluster) Show(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.indices[name]
	if i == nil {
		return ""
	}
	return string(encode(map[string]any{"fields": i.fields, "aliases": i.aliases, "closed": i.closed}))
}
