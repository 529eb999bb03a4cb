package catalogue

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Index settings and cluster settings. They may be nested or have dots in their
// names, and may begin with "index" or not.

func init() {
	translate.Register(
		&Change{
			ID: "SET-02", Name: "SettingsOf5WereRemoved", Since: V(6, 0),
			Doc: "These index settings are gone: shadow_replicas, shared_filesystem, store.throttle, recovery.initial_shards, queries.cache.term_queries, mapping.single_type, store.type: default.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				switch {
				case s.is("shadow_replicas", "recovery.initial_shards", "queries.cache.term_queries", "mapping.single_type",
					"shadow.wait_for_initial_commit"),
					s.below("shared_filesystem"), s.below("store.throttle"),
					s.is("store.type") && s.value() == "default":
					s.drop()
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SET-03", Name: "DynamicTypesSettingWasRemoved", Since: V(7, 0),
			Doc: "index.mapper.dynamic, which kept types from being created by writes, is gone; 7.17 takes it again without effect.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "writes create mappings all the same", Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				if s.is("mapper.dynamic") {
					s.drop()
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SET-04", Name: "PercolatorSettingSaysText", Since: V(6, 0), Removed: V(7, 0),
			Doc: "index.percolator.map_unmapped_fields_as_string is called map_unmapped_fields_as_text; check_on_startup has no value fix.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				switch {
				case s.is("percolator.map_unmapped_fields_as_string"):
					s.rename("percolator.map_unmapped_fields_as_text")
				case s.is("shard.check_on_startup") && s.value() == "fix":
					s.set(`"true"`)
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				if s.is("percolator.map_unmapped_fields_as_text") {
					s.rename("percolator.map_unmapped_fields_as_string")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SET-05", Name: "SettingsOf7WereRemoved", Since: V(8, 0),
			Doc: "These index settings are gone: translog.retention, soft_deletes.enabled: false, max_adjacency_matrix_filters, force_memory_term_dictionary, frozen, search.throttled, mapper.dynamic, merge.policy.max_merge_at_once_explicit, the slow logs' level.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				switch {
				case s.below("translog.retention"), s.is("max_adjacency_matrix_filters", "force_memory_term_dictionary", "frozen",
					"search.throttled", "mapper.dynamic", "merge.policy.max_merge_at_once_explicit", "search.slowlog.level", "indexing.slowlog.level"),
					s.is("soft_deletes.enabled") && s.value() == "false":
					s.drop()
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SET-08", Name: "BooleanSettingsBecameStrict", Since: V(6, 0),
			Doc: "A boolean setting is true or false; on, yes and 1 are refused.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{settings(func(_ *Exchange, s *setting) error {
				if s.is("blocks.read_only", "blocks.read", "blocks.write", "blocks.metadata", "mapping.ignore_malformed", "mapping.coerce",
					"mapper.dynamic", "requests.cache.enable", "warmer.enabled", "load_fixed_bitset_filters_eagerly", "indexing.slowlog.reformat",
					"ttl.disable_purge", "query.parse.allow_unmapped_fields") && s.value() != "true" && s.value() != "false" && s.raw().Type != gjson.Null {
					s.set(jsonBool(isTrue(s.raw())))
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SET-09", Name: "FlatListsBecameLists", Since: V(6, 0),
			Doc: "Flat settings show a list as one; 5.x shows a setting for each element, with its number as the end of the name.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Settings, func(x *Exchange, n *Node) error {
				if !x.AskedParams.Bool("flat_settings") {
					return nil
				}
				for _, key := range n.Keys() {
					if v := n.Get(key); v.IsArray() {
						after := key
						for i, e := range v.Array() {
							one := key + "." + itoa(i)
							n.InsertAfter(after, one, e.Raw)
							after = one
						}
						n.Drop(key)
					}
				}
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.Settings, func(x *Exchange, n *Node) error {
				if !x.AskedParams.Bool("flat_settings") {
					return nil
				}
				for _, key := range n.Keys() {
					base, first := strings.CutSuffix(key, ".0")
					if !first || n.Get(key).IsObject() {
						continue
					}
					var list []string
					for i := 0; n.Has(base + "." + itoa(i)); i++ {
						list = append(list, n.Get(base+"."+itoa(i)).Raw)
					}
					n.InsertAfter(key, base, "["+strings.Join(list, ",")+"]")
					for i := range list {
						n.Drop(base + "." + itoa(i))
					}
				}
				return nil
			})}},
		},
		&Change{
			ID: "IDX-12", Name: "TierPreferenceAppeared", Since: V(7, 10),
			Doc: "Every index has the setting index.routing.allocation.include._tier_preference.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{settings(func(_ *Exchange, s *setting) error {
				if s.is("routing.allocation.include._tier_preference") {
					s.drop()
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "IDX-17", Name: "OneShardBecameTheDefault", Since: V(7, 0),
			Doc:       "An index has one primary shard unless it says otherwise; it had five.",
			OldClient: withoutRules,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "an index that a write creates has five shards, unless a template says otherwise",
				Request: []Rule{at(translate.RequestEnd, oneShard)}},
		},
		&Change{
			ID: "SET-10", Name: "UpdatesOfSettingsCanReopen", Since: V(8, 12),
			Doc:       "PUT _settings?reopen=true changes settings for which the index has to be closed.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Refused, Loses: "reopen=true", Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.put_settings"}, func(x *Exchange, _ *Node) error {
				if x.Asked.API == "indices.put_settings" && x.Params.Has("reopen") {
					if x.Params.Bool("reopen") {
						return x.Refuse("reopen=true at an update of settings (close the index, update, open it)")
					}
					x.Params.Drop("reopen")
				}
				return nil
			})}},
		},
		&Change{
			ID: "SET-20", Name: "RemoteClusterSettingsWereRenamed", Since: V(6, 5), Removed: V(8, 0),
			Doc:       "The cluster settings search.remote.* are called cluster.remote.*.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{clusterSettings(prefixed("search.remote.", "cluster.remote."))}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{clusterSettings(prefixed("cluster.remote.", "search.remote."))}},
		},
		&Change{
			ID: "SET-20", Name: "StoreThrottleWasRemoved", Since: V(6, 0),
			Doc: "The cluster settings indices.store.throttle.* are gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{clusterSettings(func(s *setting) {
				if s.below("indices.store.throttle") {
					s.drop()
				}
			})}},
			NewClient: nothing,
		},
	)
	translate.Register(newSettingChanges()...)
}

// newSettings are the index settings that older clusters refuse: those that
// only limit or speed up are dropped, those that change what is stored are
// refused. A name that ends with a dot stands for all below it.
var newSettings = []struct {
	since   Version
	dropped []string
	refused []string
}{
	{V(6, 0), []string{"number_of_routing_shards", "max_inner_result_window", "max_docvalue_fields_search", "max_script_fields",
		"max_ngram_diff", "max_shingle_diff", "translog.generation_threshold_size", "translog.retention.", "sort.", "blocks.read_only_allow_delete",
		"mapping.ignored_fields", "soft_deletes.", "format"}, nil},
	{V(6, 1), []string{"highlight.max_analyzed_offset", "max_terms_count", "max_regex_length"}, nil},
	{V(6, 5), nil, []string{"default_pipeline"}},
	{V(6, 6), []string{"lifecycle.", "search.throttled", "merge.policy.deletes_pct_allowed"}, nil},
	{V(7, 0), []string{"analyze.max_token_count", "mapping.nested_objects.limit", "search.idle.after", "unassigned.node_left.delayed_timeout."}, nil},
	{V(7, 5), nil, []string{"final_pipeline"}},
	{V(7, 7), []string{"hidden"}, nil},
	{V(7, 10), []string{"routing.allocation.include._tier_preference", "routing.allocation.require._tier", "routing.allocation.include._tier"}, nil},
	{V(8, 0), []string{"mapping.dimension_fields.limit", "look_ahead_time", "fast_refresh"}, []string{"mode"}},
	{V(8, 14), []string{"mapping.total_fields.ignore_dynamic_beyond_limit", "mapping.ignore_above"}, nil},
}

func newSettingChanges() []*Change {
	var changes []*Change
	for _, group := range newSettings {
		id := "SET-06"
		if group.since.AtLeast(V(6, 6)) {
			id = "SET-07"
		}
		fidelity, loses := translate.Lossy, "the settings are left out"
		if group.refused != nil {
			fidelity, loses = translate.Refused, "the setting "+strings.Join(group.refused, ", ")
		}
		matches := func(names []string, s *setting) bool {
			return slices.ContainsFunc(names, func(name string) bool {
				return s.is(name) || strings.HasSuffix(name, ".") && s.below(name[:len(name)-1])
			})
		}
		changes = append(changes, &Change{
			ID: id, Name: "SettingsOf" + underscored(group.since) + "Appeared", Since: group.since,
			Doc:       "These index settings appeared: " + strings.Join(slices.Concat(group.dropped, group.refused), ", ") + ".",
			OldClient: nothing,
			NewClient: Direction{Fidelity: fidelity, Loses: loses, Request: []Rule{settings(func(x *Exchange, s *setting) error {
				switch {
				case matches(group.refused, s) && s.value() != "" && s.value() != "_none" && s.value() != "standard":
					return x.Refuse("the index setting %s", s.name)
				case matches(group.refused, s), matches(group.dropped, s):
					s.drop()
				}
				return nil
			})}},
		})
	}
	return changes
}

// A setting is one of a node of settings, by the full name that it has without
// "index." in front.
type setting struct {
	name    string
	result  gjson.Result
	dropped bool
	renamed string
	changed string
}

func (s *setting) raw() gjson.Result { return s.result }
func (s *setting) value() string     { return s.result.String() }
func (s *setting) drop()             { s.dropped = true }
func (s *setting) rename(to string)  { s.renamed = to }
func (s *setting) set(raw string)    { s.changed = raw }

func (s *setting) is(names ...string) bool { return slices.Contains(names, s.name) }

func (s *setting) below(name string) bool {
	return s.name == name || strings.HasPrefix(s.name, name) && s.name[len(name)] == '.'
}

// settings makes a rule that looks at each single setting, however it is
// written. Analysis has places of its own.
func settings(do func(x *Exchange, s *setting) error) Rule {
	return at(translate.Settings, func(x *Exchange, n *Node) error {
		return eachSetting(n, func(s *setting) error {
			s.name = strings.TrimPrefix(s.name, "index.")
			return do(x, s)
		}, "index", "analysis", "index.analysis")
	})
}

// clusterSettings makes a rule that looks at each setting of a cluster.
func clusterSettings(do func(s *setting)) Rule {
	return at(translate.ClusterSettings, func(_ *Exchange, n *Node) error {
		return eachSetting(n, func(s *setting) error {
			do(s)
			return nil
		})
	})
}

func prefixed(from, to string) func(*setting) {
	return func(s *setting) {
		if rest, ok := strings.CutPrefix(s.name, from); ok {
			s.rename(to + rest)
		}
	}
}

// eachSetting calls do for each value below n, except below the members that are
// left out. A renamed setting stands behind the others, with dots in its name.
func eachSetting(n *Node, do func(s *setting) error, leftOut ...string) error {
	for _, key := range n.Keys() {
		v := n.Get(key)
		if v.IsObject() && slices.Contains(leftOut, key) {
			continue
		}
		raw, keep, added, err := changeSetting(key, v, do)
		if err != nil {
			return err
		}
		if !keep {
			n.Drop(key)
		} else if raw != v.Raw {
			n.Set(key, raw)
		}
		for _, a := range added {
			n.Set(a[0], a[1])
		}
	}
	return nil
}

func changeSetting(name string, v gjson.Result, do func(s *setting) error) (raw string, keep bool, added [][2]string, err error) {
	if !v.IsObject() {
		s := &setting{name: name, result: v}
		if err := do(s); err != nil {
			return "", false, nil, err
		}
		raw = v.Raw
		if s.changed != "" {
			raw = s.changed
		}
		if s.renamed != "" {
			return "", false, [][2]string{{s.renamed, raw}}, nil
		}
		return raw, !s.dropped, nil, nil
	}
	var o object
	changed, empty := false, true
	v.ForEach(func(key, value gjson.Result) bool {
		empty = false
		r, k, a, e := changeSetting(name+"."+key.String(), value, do)
		added = append(added, a...)
		if e != nil {
			err = e
			return false
		}
		changed = changed || !k || r != value.Raw
		if k {
			o.set(key.String(), r)
		}
		return true
	})
	if err != nil || !changed {
		return v.Raw, true, added, err
	}
	return o.String(), empty || o.len() > 0, added, nil
}

// findSetting returns the value of an index setting in the body's settings,
// however it is written.
func findSetting(all gjson.Result, name string) (found gjson.Result) {
	var look func(prefix string, v gjson.Result)
	look = func(prefix string, v gjson.Result) {
		if !v.IsObject() {
			if strings.TrimPrefix(prefix, "index.") == name {
				found = v
			}
			return
		}
		v.ForEach(func(key, value gjson.Result) bool {
			p := key.String()
			if prefix != "" {
				p = prefix + "." + p
			}
			look(p, value)
			return true
		})
	}
	look("", all)
	return found
}

// oneShard gives a new index the number of shards that it would have from 7.0
// on, unless a template of the cluster says how many. A template cannot be asked
// for what it would do, so they are read.
func oneShard(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.create" {
		return nil
	}
	body := gjson.ParseBytes(x.RequestBody)
	if findSetting(body.Get("settings"), "number_of_shards").Exists() {
		return nil
	}
	index := x.Endpoint.Index
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		templates, err := next.Send(ctx, esapi.NewRequest(http.MethodGet, "/_template", nil))
		if err != nil {
			return nil, err
		}
		text, err := readAll(templates)
		if err != nil {
			return nil, err
		}
		if !templatesSay(gjson.ParseBytes(text), index, "number_of_shards") {
			if r.Body, err = withSetting(r.Body, "number_of_shards", "1"); err != nil {
				return nil, err
			}
			r.Header.Set("Content-Type", "application/json")
		}
		return next.Send(ctx, r)
	})
	return nil
}

// setInBody gives the index a setting of mapping.
func setInBody(x *Exchange, name, raw string) (err error) {
	x.RequestBody, err = withSetting(x.RequestBody, "mapping\\."+name, raw)
	x.Edited()
	return err
}

// withSetting adds an index setting to the body of a creation.
func withSetting(body []byte, name, raw string) ([]byte, error) {
	if len(body) == 0 {
		body = []byte("{}")
	}
	return sjson.SetRawBytes(body, "settings.index\\."+name, []byte(raw))
}

// templatesSay reports whether a template of a cluster before 7.0 that applies to
// an index has a setting.
func templatesSay(templates gjson.Result, index, name string) (says bool) {
	templates.ForEach(func(_, t gjson.Result) bool {
		patterns := t.Get("index_patterns").Array()
		if p := t.Get("template"); p.Type == gjson.String {
			patterns = append(patterns, p)
		}
		applies := slices.ContainsFunc(patterns, func(p gjson.Result) bool {
			ok, err := path.Match(p.String(), index)
			return ok && err == nil
		})
		says = applies && findSetting(t.Get("settings"), name).Exists()
		return !says
	})
	return says
}
