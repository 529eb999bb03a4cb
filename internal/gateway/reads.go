package gateway

import "github.com/esperanto-es/esperanto/internal/esapi"

// reads reports whether a request changes neither documents nor what an index
// is, so that it does not have to wait while the master is moved and nothing of
// it is captured. What is not known to be a read is a write.
func reads(e esapi.Endpoint) bool {
	return e.Method == "GET" || e.Method == "HEAD" || readAPIs[e.API]
}

// readAPIs are the APIs that read by POST, PUT or DELETE, and those that change
// nothing that could be replicated.
var readAPIs = setOf(
	"search", "msearch", "search_template", "msearch_template", "render_search_template", "scroll", "clear_scroll",
	"count", "mget", "explain", "field_caps", "field_stats", "suggest", "percolate", "count_percolate", "mpercolate",
	"termvectors", "mtermvectors", "terms_enum", "search_shards", "search_mvt", "knn_search", "rank_eval",
	"scripts_painless_execute", "indices.validate_query", "indices.analyze",
	"open_point_in_time", "close_point_in_time", "async_search.submit", "async_search.get", "async_search.status", "async_search.delete",
	"eql.search", "eql.get", "eql.get_status", "eql.delete", "sql.query", "sql.translate", "sql.clear_cursor", "sql.delete_async", "esql.query", "esql.async_query", "esql.async_query_delete",
	"graph.explore", "search_application.search", "rollup.rollup_search", "text_structure.find_structure",
	"ingest.simulate", "simulate.ingest", "indices.simulate_template", "indices.simulate_index_template",
	"security.authenticate", "security.has_privileges", "security.has_privileges_user_profile",

	"indices.refresh", "indices.flush", "indices.flush_synced", "indices.forcemerge", "indices.clear_cache",
	"nodes.reload_secure_settings", "tasks.cancel", "cluster.allocation_explain",
)

func setOf(names ...string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}
