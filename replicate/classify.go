package replicate

import "github.com/esperanto-es/esperanto/internal/esapi"

// A class is how capture treats an API.
type class int

const (
	classRead     class = iota // changes no data: passes straight through
	classDocument              // writes one document
	classBulk
	classState   // changes what indices are made of: replicated as state
	classRefused // changes documents in a way that is not replicated
)

// classes has every API that is not classRead.
var classes = map[string]class{
	"index":  classDocument,
	"create": classDocument,
	"update": classDocument,
	"delete": classDocument,
	"bulk":   classBulk,

	"indices.create":                    classState,
	"indices.delete":                    classState,
	"indices.open":                      classState,
	"indices.close":                     classState,
	"indices.put_mapping":               classState,
	"indices.put_settings":              classState,
	"indices.add_block":                 classState,
	"indices.rollover":                  classState,
	"indices.shrink":                    classState,
	"indices.split":                     classState,
	"indices.clone":                     classState,
	"indices.update_aliases":            classState,
	"indices.put_alias":                 classState,
	"indices.delete_alias":              classState,
	"indices.put_template":              classState,
	"indices.delete_template":           classState,
	"indices.put_index_template":        classState,
	"indices.delete_index_template":     classState,
	"cluster.put_component_template":    classState,
	"cluster.delete_component_template": classState,
	"ingest.put_pipeline":               classState,
	"ingest.delete_pipeline":            classState,
	"put_script":                        classState,
	"delete_script":                     classState,
	"put_template":                      classState, // 5.x: search templates
	"delete_template":                   classState,
}

// dataStreams says what to do instead of using a data stream.
const dataStreams = "the backing indices of a data stream are named by the cluster, and older versions have none; use indices behind an alias, with _rollover"

// refusals says, for each API that is refused while there is a follower, what
// to do instead. Changes by query come here only from callers that have no
// gateway in front: it makes bulks of them (translate/emulate).
var refusals = map[string]string{
	"delete_by_query":                        "search for the documents and delete them with bulk requests",
	"update_by_query":                        "search for the documents and update them with bulk requests",
	"reindex":                                "read the documents with a scroll and write them with bulk requests",
	"indices.downsample":                     "it makes an index of summaries that the other cluster's version may not have; write the aggregated documents with bulk requests",
	"rollup.rollup":                          "write the aggregated documents with bulk requests",
	"indices.create_data_stream":             dataStreams,
	"indices.delete_data_stream":             dataStreams,
	"indices.migrate_to_data_stream":         dataStreams,
	"indices.promote_data_stream":            dataStreams,
	"indices.modify_data_stream":             dataStreams,
	"snapshot.restore":                       "restore at the cluster itself, on both clusters, while the gateway has one cluster only",
	"searchable_snapshots.mount":             "mount at the cluster itself, on both clusters, while the gateway has one cluster only",
	"ccr.follow":                             "name the index's cluster as the gateway's second cluster",
	"dangling_indices.import_dangling_index": "import at the cluster itself while the gateway has one cluster only",
}

func init() {
	for api := range refusals {
		classes[api] = classRefused
	}
}

// IsWrite reports whether a request has to be let in as a write: it changes
// documents or what indices are made of. An unknown API is taken for a write
// unless its method is GET or HEAD.
func IsWrite(e esapi.Endpoint) bool {
	if e.API == "" {
		return e.Method != "GET" && e.Method != "HEAD"
	}
	return classes[e.API] != classRead
}
