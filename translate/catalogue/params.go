package catalogue

import (
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// paramTable says from which version on, and before which, a version takes a URL
// parameter of an API; all versions refuse what they do not know. "-7.0" means
// that 7.0 does not take it any more, "7.7-" that 7.7 was the first. A name that
// ends with "!" changes what the request does: it is refused unless it is false.
// "*" is every API. Parameters that became others have changes of their own.
const paramTable = `
*                           ignore_throttled 6.6-
bulk                        fields -7.0, list_executed_pipelines 8.12-, require_data_stream! 8.13-
cat.aliases                 expand_wildcards 7.7-, master_timeout -7.0
cat.count                   local -7.0, master_timeout -7.0
cat.fielddata               local -7.0, master_timeout -7.0
cat.health                  local -7.0, master_timeout -7.0
cat.indices                 expand_wildcards 7.7-, include_unloaded_segments 7.5-
cat.nodes                   include_unloaded_segments 7.16-, local -8.0
cat.plugins                 include_bootstrap 7.14-
cat.recovery                active_only 7.0-, detailed 7.0-, index 7.0-, master_timeout -7.0
cat.shards                  local -8.0
cat.tasks                   nodes! 7.0-, parent_task_id! 7.0-
cluster.allocation_explain  master_timeout 8.15-
cluster.health              expand_wildcards 7.2-, wait_for_no_initializing_shards 6.2-, return_200_for_cluster_health_timeout 7.16-
cluster.state               wait_for_metadata_version 6.4-, wait_for_timeout 6.4-
cluster.stats               flat_settings -8.0, include_remotes 8.16-
delete_by_query             _source -8.0, _source_excludes -8.0, _source_includes -8.0
delete_script               master_timeout 6.0-, timeout 6.0-
field_caps                  filters 8.2-, include_empty_fields 8.13-, include_unmapped 7.2-, types 8.2-
get                         force_synthetic_source 8.4-
get_script                  master_timeout 6.0-
index                       require_data_stream! 8.13-
indices.clear_cache         recycler -6.0
indices.close               wait_for_active_shards 7.2-
indices.create              update_all_types -7.0
indices.delete              allow_no_indices 6.0-, expand_wildcards 6.0-, ignore_unavailable 6.0-
indices.exists              include_type_name 6.7-8.0
indices.forcemerge          operation_threading -6.0, wait_for_merge -6.0, wait_for_completion 8.1-
indices.get                 master_timeout 6.0-
indices.get_field_mapping   local -8.0
indices.get_mapping         master_timeout 6.0-
indices.get_settings        master_timeout 6.0-
indices.open                wait_for_active_shards 6.0-
indices.put_mapping         update_all_types -7.0, write_index_only! 7.9-
indices.put_settings        timeout 6.0-
indices.put_template        flat_settings -7.0, timeout -7.0
indices.rollover            lazy! 8.13-, target_failure_store 8.15-
indices.segments            operation_threading -6.0
indices.shard_stores        operation_threading -6.0
indices.shrink              copy_settings 6.4-8.0
indices.split               copy_settings 6.4-8.0
indices.stats               forbid_closed_indices 7.0-, include_unloaded_segments 7.2-, types -8.0
indices.validate_query      operation_threading -6.0
ingest.get_pipeline         summary 7.13-
ingest.put_pipeline         if_version! 7.16-
mget                        force_synthetic_source 8.4-
msearch                     ccs_minimize_roundtrips 7.0-, max_concurrent_shard_requests 6.0-, pre_filter_shard_size 6.0-, rest_total_hits_as_int 6.6-
msearch_template            ccs_minimize_roundtrips 7.0-, rest_total_hits_as_int 6.6-
nodes.hot_threads           sort 7.16-
nodes.stats                 include_unloaded_segments 7.2-
put_script                  context 6.0-, master_timeout 6.0-, timeout 6.0-
rank_eval                   search_type 7.7-
reindex                     scroll 6.7-
scroll                      rest_total_hits_as_int 6.6-
search                      allow_partial_search_results 6.3-, ccs_minimize_roundtrips 7.0-, fielddata_fields -6.0, force_synthetic_source 8.4-, include_named_queries_score 8.8-, max_concurrent_shard_requests 5.6-, min_compatible_shard_node 7.12-, pre_filter_shard_size 5.6-, rest_total_hits_as_int 6.6-
search_shards               master_timeout 8.16-
search_template             ccs_minimize_roundtrips 7.0-, rest_total_hits_as_int 6.6-
snapshot.delete             wait_for_completion 8.15-
snapshot.get                after 7.14-, from_sort_value 7.16-, include_repository 7.14-, index_details 7.13-, index_names 8.3-, offset 7.15-, order 7.14-, size 7.14-, slm_policy_filter 7.16-, sort 7.14-
tasks.cancel                wait_for_completion 7.9-
tasks.get                   timeout 6.0-
tasks.list                  timeout 6.0-
update_by_query             _source -8.0, _source_excludes -8.0, _source_includes -8.0
`

// A param is one cell of the table.
type param struct {
	api, name    string
	refused      bool
	since, until Version
}

func parseParams(table string) []param {
	var params []param
	for line := range strings.Lines(table) {
		api, cells, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		for _, cell := range strings.Split(cells, ",") {
			name, versions, _ := strings.Cut(strings.TrimSpace(cell), " ")
			since, until, ok := strings.Cut(strings.TrimSpace(versions), "-")
			if !ok {
				panic("catalogue: not a parameter: " + cell)
			}
			p := param{api: api, since: tableVersion(since), until: tableVersion(until)}
			p.name, p.refused = strings.CutSuffix(name, "!")
			params = append(params, p)
		}
	}
	return params
}

func tableVersion(s string) Version {
	if s == "" {
		return Version{}
	}
	v, err := esapi.ParseVersion(s)
	if err != nil {
		panic("catalogue: " + err.Error())
	}
	return v
}

// paramChanges makes a change for each version at which parameters appeared or
// were removed. Their rule runs behind all others of the request, so that it
// drops only what no other change has made use of.
func paramChanges() []*Change {
	params := parseParams(paramTable)
	var versions []Version
	for _, p := range params {
		for _, v := range []Version{p.since, p.until} {
			if !v.IsZero() && !slices.Contains(versions, v) {
				versions = append(versions, v)
			}
		}
	}
	var changes []*Change
	for _, v := range versions {
		var appeared, removed []param
		var said []string
		for _, p := range params {
			if p.since == v {
				appeared = append(appeared, p)
				said = append(said, p.name+" of "+p.api+" appeared")
			}
			if p.until == v {
				removed = append(removed, p)
				said = append(said, p.name+" of "+p.api+" was removed")
			}
		}
		c := &Change{ID: "PAR-01", Name: "ParametersOf" + underscored(v) + "Changed", Since: v,
			Doc: "URL parameters: " + strings.Join(said, ", ") + ".", OldClient: nothing, NewClient: nothing}
		if removed != nil {
			c.OldClient = Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestEnd, dropUnknown(removed))}}
		}
		if appeared != nil {
			c.NewClient = Direction{Fidelity: translate.Exact, Request: []Rule{withParams(translate.RequestEnd, dropUnknown(appeared))}}
			var refused []string
			for _, p := range appeared {
				if p.refused && !slices.Contains(refused, p.name) {
					refused = append(refused, p.name)
				}
			}
			if refused != nil {
				c.NewClient.Fidelity, c.NewClient.Loses = translate.Refused, strings.Join(refused, ", ")
			}
		}
		changes = append(changes, c)
	}
	return changes
}

func dropUnknown(params []param) func(*Exchange, *Node) error {
	return func(x *Exchange, _ *Node) error {
		for _, p := range params {
			if p.api != "*" && p.api != x.Asked.API || !x.Params.Has(p.name) {
				continue
			}
			if p.refused && x.Params.Get(p.name) != "false" {
				return x.Refuse("the parameter %s", p.name)
			}
			x.Params.Drop(p.name)
		}
		return nil
	}
}
