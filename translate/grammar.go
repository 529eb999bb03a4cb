package translate

// Places that are no JSON node: their rules get a nil Node.
const (
	RequestHead Place = "request head" // before the body: endpoint, parameters, headers
	RequestEnd  Place = "request end"  // after the body
	AnswerHead  Place = "answer head"  // before the answer's body: status, headers
)

// Places in requests.
const (
	Opaque Place = "opaque" // _source, script parameters, names: never looked into

	SearchBody      Place = "search body" // search, count, by-query, an msearch line, top_hits
	MsearchHeader   Place = "msearch header"
	ScrollBody      Place = "scroll body" // of scroll and clear scroll; may be a plain text on 5.x
	TemplatedSearch Place = "search template body"
	Query           Place = "query" // one clause, {"match": …}; clauses are at Clause(name)
	QueryMap        Place = "named queries"
	Sort            Place = "sort"      // one sort: a field's name or {field: spec}
	SortSpec        Place = "sort spec" // what stands under the field
	SortNested      Place = "sort nested"
	Highlight       Place = "highlight"
	HighlightFields Place = "highlight fields"
	HighlightField  Place = "highlight field"
	Suggest         Place = "suggest" // {name: suggester}
	Suggester       Place = "suggester"
	Rescore         Place = "rescore"
	RescoreQuery    Place = "rescore query"
	Collapse        Place = "collapse"
	InnerHits       Place = "inner hits" // options of inner hits
	DocvalueFields  Place = "docvalue fields"
	Script          Place = "script" // text or {"source": …}
	ScriptFields    Place = "script fields"
	ScriptField     Place = "script field"
	ScoreFunction   Place = "score function"
	ScriptScore     Place = "script score function"
	Aggs            Place = "aggregations" // {name: aggregation}
	Agg             Place = "aggregation"  // {"terms": …, "aggs": …}; bodies are at Aggregation(name)
	AggSource       Place = "composite source"
	IndexedDoc      Place = "indexed document" // a pointer to a document: terms lookup, indexed shape, percolate, like

	BulkAction Place = "bulk action" // {"index": {…}}
	BulkMeta   Place = "bulk metadata"
	UpdateBody Place = "update body"
	MgetBody   Place = "mget body"
	MgetItem   Place = "mget item"
	Document   Place = "document" // the body of an index request; opaque but for rules bound here

	FieldCapsBody Place = "field caps body"
	ReindexBody   Place = "reindex body"
	ReindexSource Place = "reindex source"
	ReindexDest   Place = "reindex dest"

	IndexBody         Place = "index body" // of create index, shrink, rollover
	TemplateBody      Place = "template body"
	IndexTemplateBody Place = "index template body" // composable
	AliasActions      Place = "alias actions"
	AliasAction       Place = "alias action" // {"add": …}
	AnalyzeBody       Place = "analyze body"
	StoredScriptBody  Place = "stored script body"
	PipelineBody      Place = "pipeline body"
	Processor         Place = "processor" // {"set": …}; what stands under the name is at ProcessorBody
	ProcessorBody     Place = "processor body"
	SimulateBody      Place = "simulate body" // of ingest.simulate
	SimulateDoc       Place = "simulated document"
	RankEvalBody      Place = "rank eval body"
	RankEvalRequest   Place = "rank eval request"
	RestoreBody       Place = "restore body"
	WatchBody         Place = "watch body"
	WatchInput        Place = "watch input" // of a watch, its transform, or a chain of inputs
	WatchRequest      Place = "watch search request"
	RollupDates       Place = "date histogram of a rollup job"
	PolicyActions     Place = "lifecycle actions" // of one phase: {"delete": …}
	PolicyAction      Place = "lifecycle action"
	Body              Place = "body" // any other request body
)

// Places in requests and answers alike.
const (
	Mappings         Place = "mappings"     // the value of "mappings", or the body of put mapping: with a type name around MappingBody or without
	MappingBody      Place = "mapping body" // what stands under a type name
	Properties       Place = "properties"
	FieldMapping     Place = "field mapping"
	DynamicTemplates Place = "dynamic templates"
	DynamicTemplate  Place = "dynamic template"
	Settings         Place = "settings" // nested or with dots, with "index" in front or without
	Analysis         Place = "analysis"
	AnalysisItems    Place = "analysis items"
	Analyzer         Place = "analyzer"
	Normalizer       Place = "normalizer"
	Tokenizer        Place = "tokenizer"
	TokenFilter      Place = "token filter"
	CharFilter       Place = "char filter"
	ClusterSettings  Place = "cluster settings" // persistent or transient
	Aliases          Place = "aliases"          // {name: alias}
	Alias            Place = "alias"
)

// Places in answers.
const (
	SearchAnswer   Place = "search answer"
	Hits           Place = "hits" // {"total", "max_score", "hits"}
	Hit            Place = "hit"
	InnerHitsMap   Place = "inner hits answer"
	AggResults     Place = "aggregation results" // {name: result}
	AggResult      Place = "aggregation result"
	Bucket         Place = "bucket"
	Buckets        Place = "buckets"
	SuggestAnswer  Place = "suggest answer"
	SuggestEntry   Place = "suggest entry"
	SuggestOption  Place = "suggest option"
	MsearchAnswer  Place = "msearch answer"
	BulkAnswer     Place = "bulk answer"
	BulkAnswerItem Place = "bulk answer item" // {"index": WriteResult}
	WriteResult    Place = "write result"     // what index, create, update or delete answer, alone or in a bulk
	MgetAnswer     Place = "mget answer"
	Doc            Place = "doc" // what get, an item of mget, explain or termvectors answer
	Shards         Place = "shards"
	ShardFailure   Place = "shard failure"
	Error          Place = "error" // the value of "error": an object or a text; causes too
	ByQueryAnswer  Place = "by query answer"
	FieldCaps      Place = "field caps answer"
	FieldCapsField Place = "field caps of a field" // {type: FieldCapsType}
	FieldCapsType  Place = "field caps of a type"

	IndicesAnswer  Place = "indices answer" // {index: IndexState}: get index, mapping, settings, aliases
	IndexState     Place = "index state"
	FieldMappings  Place = "field mappings answer" // {index: {"mappings": …}}
	FieldMappingsT Place = "field mappings of an index"
	TemplatesState Place = "templates answer" // {name: TemplateState}
	TemplateState  Place = "template state"
	TemplateItem   Place = "index template in an answer" // {"name", "index_template"}
	TemplateWhole  Place = "composable template in an answer"
	InfoAnswer     Place = "info answer"
	NodesAnswer    Place = "nodes answer"
	NodeMap        Place = "nodes by id"
	NodeInfo       Place = "node info"
	ClusterState   Place = "cluster state answer"
	ClusterMeta    Place = "cluster metadata" // what a cluster's state says of indices and templates
	Pipelines      Place = "pipelines answer" // {name: PipelineBody}
	SimulateAnswer Place = "simulate answer"
	SimulateResult Place = "simulate result" // of a document, or of one processor on it
	SimulatedDoc   Place = "simulated document in an answer"
	RankEvalAnswer Place = "rank eval answer"
	Segment        Place = "segment"         // of _segments
	SnapshotInfo   Place = "snapshot"        // of get and create snapshot
	Snapshots      Place = "snapshots"       // {"snapshots": [SnapshotInfo]} or {"snapshot": …}
	SnapshotStatus Place = "snapshot status" // of one snapshot
	SnapshotStats  Place = "snapshot statistics"
	HealthAnswer   Place = "health answer"
	IndexHealth    Place = "health of an index"
	StatsDocs      Place = "statistics of documents"
	StatsStore     Place = "statistics of the store"
	StatsRefresh   Place = "statistics of refreshes"
	Answer         Place = "answer" // any other answer
)

// Clause is the place of a query's body: Clause("match") is what stands under
// "match". Field queries have the field's specification one level below, at
// ClauseField.
func Clause(name string) Place { return Place("query " + name) }

// ClauseField is the place of what stands under a field's name in a field query,
// {"match": {"title": HERE}}.
func ClauseField(name string) Place { return Place("query " + name + " field") }

// Aggregation is the place of an aggregation's body: Aggregation("terms") is
// what stands under "terms".
func Aggregation(name string) Place { return Place("aggregation " + name) }

// fieldClauses are the queries of the form {name: {field: spec}}.
var fieldClauses = []string{
	"match", "match_phrase", "match_phrase_prefix", "match_bool_prefix", "match_pos_filter", "term", "terms", "terms_set", "range", "prefix",
	"wildcard", "regexp", "fuzzy", "common", "span_term", "geo_shape", "geo_distance_range", "shape",
	"geo_bounding_box", "geo_polygon", "geo_distance", "intervals", "geo_grid", "semantic", "sparse_vector", "text_expansion",
	"geohash_cell",
}

// clauses are all other queries, with the places of what they hold.
var clauses = map[string]map[string]Place{
	"bool":                {"must": Query, "should": Query, "filter": Query, "must_not": Query},
	"boosting":            {"positive": Query, "negative": Query},
	"constant_score":      {"filter": Query, "query": Query},
	"dis_max":             {"queries": Query},
	"function_score":      {"query": Query, "filter": Query, "functions": ScoreFunction, "script_score": ScriptScore},
	"nested":              {"query": Query, "inner_hits": InnerHits},
	"has_child":           {"query": Query, "inner_hits": InnerHits},
	"has_parent":          {"query": Query, "inner_hits": InnerHits},
	"span_near":           {"clauses": Query},
	"span_or":             {"clauses": Query},
	"span_not":            {"include": Query, "exclude": Query},
	"span_first":          {"match": Query},
	"span_containing":     {"big": Query, "little": Query},
	"span_within":         {"big": Query, "little": Query},
	"span_multi":          {"match": Query},
	"field_masking_span":  {"query": Query},
	"span_field_masking":  {"query": Query},
	"indices":             {"query": Query, "no_match_query": Query},
	"script":              {"script": Script},
	"script_score":        {"query": Query, "script": Script},
	"pinned":              {"organic": Query},
	"rule":                {"organic": Query},
	"more_like_this":      {"like": IndexedDoc, "unlike": IndexedDoc},
	"percolate":           {},
	"match_all":           {},
	"match_none":          {},
	"ids":                 {},
	"type":                {},
	"parent_id":           {},
	"exists":              {},
	"query_string":        {},
	"simple_query_string": {},
	"multi_match":         {},
	"combined_fields":     {},
	"wrapper":             {},
	"template":            {},
	"distance_feature":    {},
	"rank_feature":        {},
	"knn":                 {"filter": Query},
	"not":                 {"query": Query},
	"and":                 {"filters": Query},
	"or":                  {"filters": Query},
	"filtered":            {"query": Query, "filter": Query},
	"missing":             {},
	"limit":               {},
}

// filterMembers are the members whose queries only filter: their scores, and
// those of all queries below them, do not count.
var filterMembers = map[Place]map[string]bool{
	Clause("bool"):                  {"filter": true, "must_not": true},
	Clause("constant_score"):        {"filter": true, "query": true},
	SortSpec:                        {"nested_filter": true},
	SortNested:                      {"filter": true},
	Agg:                             {"filter": true},
	Aggregation("filters"):          {"filters": true},
	Aggregation("adjacency_matrix"): {"filters": true},
	Alias:                           {"filter": true},
}

// aggregations are the aggregations that hold more than plain values.
var aggregations = map[string]map[string]Place{
	"filters":             {"filters": QueryMap},
	"adjacency_matrix":    {"filters": QueryMap},
	"significant_terms":   {"background_filter": Query},
	"significant_text":    {"background_filter": Query},
	"composite":           {"sources": AggSource},
	"scripted_metric":     {"init_script": Script, "map_script": Script, "combine_script": Script, "reduce_script": Script, "params": Opaque},
	"bucket_sort":         {"sort": Sort},
	"random_sampler":      {},
	"terms":               {},
	"rare_terms":          {},
	"multi_terms":         {},
	"histogram":           {},
	"date_histogram":      {},
	"auto_date_histogram": {},
	"range":               {},
	"date_range":          {},
	"ip_range":            {},
	"geo_distance":        {},
	"geohash_grid":        {},
	"geotile_grid":        {},
	"missing":             {},
	"global":              {},
	"nested":              {},
	"reverse_nested":      {},
	"children":            {},
	"parent":              {},
	"sampler":             {},
	"diversified_sampler": {},
	"avg":                 {}, "sum": {}, "min": {}, "max": {}, "stats": {}, "extended_stats": {}, "value_count": {}, "cardinality": {},
	"percentiles": {}, "percentile_ranks": {}, "geo_bounds": {}, "geo_centroid": {}, "matrix_stats": {}, "weighted_avg": {},
	"median_absolute_deviation": {}, "top_metrics": {}, "string_stats": {}, "boxplot": {}, "rate": {}, "t_test": {},
	"avg_bucket": {}, "sum_bucket": {}, "min_bucket": {}, "max_bucket": {}, "stats_bucket": {}, "extended_stats_bucket": {},
	"percentiles_bucket": {}, "moving_avg": {}, "moving_fn": {}, "derivative": {}, "serial_diff": {}, "cumulative_sum": {},
	"cumulative_cardinality": {}, "bucket_script": {}, "bucket_selector": {}, "normalize": {}, "inference": {}, "moving_percentiles": {},
	"variable_width_histogram": {}, "time_series": {}, "frequent_item_sets": {}, "categorize_text": {}, "bucket_correlation": {},
	"bucket_count_ks_test": {}, "change_point": {}, "ip_prefix": {}, "geohex_grid": {}, "geo_line": {}, "cartesian_bounds": {}, "cartesian_centroid": {},
}

// searchMembers are what a search's body holds.
var searchMembers = map[string]Place{
	"query": Query, "post_filter": Query, "aggs": Aggs, "aggregations": Aggs, "sort": Sort, "highlight": Highlight,
	"suggest": Suggest, "rescore": Rescore, "script_fields": ScriptFields, "collapse": Collapse,
	"docvalue_fields": DocvalueFields, "fielddata_fields": DocvalueFields, "script": Script,
}

// mappingMembers are the parameters of a mapping's root that are no type names.
var mappingMembers = map[string]Place{
	"properties": Properties, "dynamic_templates": DynamicTemplates,
	"dynamic": Opaque, "date_detection": Opaque, "numeric_detection": Opaque, "dynamic_date_formats": Opaque, "runtime": Opaque,
	"_all": Opaque, "_source": Opaque, "_routing": Opaque, "_parent": Opaque, "_meta": Opaque, "_field_names": Opaque, "_size": Opaque,
	"_timestamp": Opaque, "_ttl": Opaque, "_index": Opaque, "_type": Opaque, "_id": Opaque, "_uid": Opaque, "_data_stream_timestamp": Opaque,
	"include_in_all": Opaque, "search_analyzer": Opaque, "index_analyzer": Opaque, "analyzer": Opaque, "enabled": Opaque,
	"subobjects": Opaque, "date_formats": Opaque,
}

// IsMappingRoot reports whether a key in a mapping's root is one of its
// parameters, and so not the name of a type.
func IsMappingRoot(key string) bool { _, ok := mappingMembers[key]; return ok }

// typeless reports whether the node at Mappings has no type names.
func typeless(n *Node) bool {
	for _, k := range n.Keys() {
		if !IsMappingRoot(k) {
			return false
		}
	}
	return n.IsObject()
}

// errorMember and the shards' section occur in every answer.
func answer(m map[string]Place) map[string]Place {
	all := map[string]Place{"error": Error, "_shards": Shards}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// grammar says where places occur.
var grammar = map[Place]shape{
	RequestHead: {}, RequestEnd: {}, AnswerHead: {}, Opaque: {},

	SearchBody:      {Members: searchMembers},
	MsearchHeader:   {},
	ScrollBody:      {},
	TemplatedSearch: {Members: map[string]Place{"params": Opaque}},
	QueryMap:        {Each: Query, List: true},
	Sort:            {Each: SortSpec},
	SortSpec:        {Members: map[string]Place{"nested_filter": Query, "nested": SortNested, "script": Script}},
	SortNested:      {Members: map[string]Place{"filter": Query, "nested": SortNested}},
	Highlight:       {Members: map[string]Place{"highlight_query": Query, "fields": HighlightFields}},
	HighlightFields: {Each: HighlightField},
	HighlightField:  {Members: map[string]Place{"highlight_query": Query}},
	Suggest:         {Each: Suggester},
	Suggester:       {},
	Rescore:         {Members: map[string]Place{"query": RescoreQuery}},
	RescoreQuery:    {Members: map[string]Place{"rescore_query": Query}},
	Collapse:        {Members: map[string]Place{"inner_hits": InnerHits}},
	InnerHits:       {Members: searchMembers},
	DocvalueFields:  {List: true},
	Script:          {},
	ScriptFields:    {Each: ScriptField},
	ScriptField:     {Members: map[string]Place{"script": Script}},
	ScoreFunction:   {Members: map[string]Place{"filter": Query, "script_score": ScriptScore}},
	ScriptScore:     {Members: map[string]Place{"script": Script}},
	Aggs:            {Each: Agg},
	AggSource:       {Each: Agg},
	IndexedDoc:      {},

	BulkAction: {Members: map[string]Place{"index": BulkMeta, "create": BulkMeta, "update": BulkMeta, "delete": BulkMeta}},
	BulkMeta:   {},
	UpdateBody: {Members: map[string]Place{"script": Script}},
	MgetBody:   {Members: map[string]Place{"docs": MgetItem}},
	MgetItem:   {},
	Document:   {},

	FieldCapsBody: {Members: map[string]Place{"index_filter": Query}},
	ReindexBody:   {Members: map[string]Place{"source": ReindexSource, "dest": ReindexDest, "script": Script}},
	ReindexSource: {Members: map[string]Place{"query": Query, "sort": Sort}},
	ReindexDest:   {},

	IndexBody:    {Members: map[string]Place{"settings": Settings, "mappings": Mappings, "aliases": Aliases}},
	TemplateBody: {Members: map[string]Place{"settings": Settings, "mappings": Mappings, "aliases": Aliases}},
	IndexTemplateBody: {Members: map[string]Place{"template": IndexBody, "settings": Settings, "mappings": Mappings, "aliases": Aliases},
		Too: TemplateBody, IsToo: func(n *Node) bool { return n.Has("order") }},
	AliasActions:     {Members: map[string]Place{"actions": AliasAction}},
	AliasAction:      {Members: map[string]Place{"add": Alias, "remove": Alias}},
	AnalyzeBody:      {Members: map[string]Place{"filter": TokenFilter, "tokenizer": Tokenizer, "char_filter": CharFilter}},
	StoredScriptBody: {Members: map[string]Place{"script": Script}},
	PipelineBody:     {Members: map[string]Place{"processors": Processor, "on_failure": Processor}},
	Processor:        {Each: ProcessorBody},
	ProcessorBody:    {Members: map[string]Place{"on_failure": Processor, "processor": Processor}},
	SimulateBody:     {Members: map[string]Place{"pipeline": PipelineBody, "docs": SimulateDoc}},
	SimulateDoc:      {Members: map[string]Place{"_source": Opaque}},
	Body:             {},

	RankEvalBody:    {Members: map[string]Place{"requests": RankEvalRequest}},
	RankEvalRequest: {Members: map[string]Place{"request": SearchBody, "params": Opaque}},
	RestoreBody:     {Members: map[string]Place{"index_settings": Settings}},
	WatchBody:       {Members: map[string]Place{"input": WatchInput, "transform": WatchInput}},
	WatchInput:      {Members: map[string]Place{"search": "watch search", "chain": "watch chain"}},
	"watch search":  {Members: map[string]Place{"request": WatchRequest}},
	"watch chain":   {Members: map[string]Place{"inputs": "watch inputs"}},
	"watch inputs":  {Each: WatchInput},
	WatchRequest:    {Members: map[string]Place{"body": SearchBody}},
	"rollup job":    {Members: map[string]Place{"groups": "rollup groups"}},
	"rollup groups": {Members: map[string]Place{"date_histogram": RollupDates}},
	RollupDates:     {},
	"policy body":   {Members: map[string]Place{"policy": "policy"}},
	"policy":        {Members: map[string]Place{"phases": "policy phases"}},
	"policy phases": {Each: "policy phase"},
	"policy phase":  {Members: map[string]Place{"actions": PolicyActions}},
	PolicyActions:   {Each: PolicyAction},
	PolicyAction:    {},

	Mappings:         {Members: mappingMembers, Each: MappingBody, Too: MappingBody, IsToo: typeless},
	MappingBody:      {Members: mappingMembers},
	Properties:       {Each: FieldMapping},
	FieldMapping:     {Members: map[string]Place{"properties": Properties, "fields": Properties, "meta": Opaque}},
	DynamicTemplates: {Each: DynamicTemplate},
	DynamicTemplate:  {Members: map[string]Place{"mapping": FieldMapping}},
	Settings:         {Members: map[string]Place{"index": Settings, "analysis": Analysis, "index.analysis": Analysis}},
	Analysis: {Members: map[string]Place{"analyzer": "analyzers", "normalizer": "normalizers", "tokenizer": "tokenizers",
		"filter": "token filters", "char_filter": "char filters"}},
	"analyzers": {Each: Analyzer}, "normalizers": {Each: Normalizer}, "tokenizers": {Each: Tokenizer},
	"token filters": {Each: TokenFilter}, "char filters": {Each: CharFilter},
	ClusterSettings: {}, "cluster settings body": {Members: map[string]Place{"persistent": ClusterSettings, "transient": ClusterSettings}},
	Analyzer: {}, Normalizer: {}, Tokenizer: {}, TokenFilter: {}, CharFilter: {},
	Aliases: {Each: Alias},
	Alias:   {Members: map[string]Place{"filter": Query}},

	SearchAnswer: {Stream: true, Members: answer(map[string]Place{"hits": Hits, "aggregations": AggResults, "suggest": SuggestAnswer,
		"response": SearchAnswer, "profile": Opaque})},
	Hits: {Stream: true, Members: map[string]Place{"hits": Hit}},
	Hit: {Members: map[string]Place{"inner_hits": InnerHitsMap, "_source": Opaque, "fields": Opaque, "highlight": Opaque,
		"error": Error}},
	InnerHitsMap: {Each: SearchAnswer},
	AggResults:   {Each: AggResult},
	AggResult: {Each: AggResult, Members: map[string]Place{"buckets": Buckets, "hits": Hits, "meta": Opaque, "value": Opaque,
		"after_key": Opaque, "values": Opaque, "std_deviation_bounds": Opaque, "bounds": Opaque, "location": Opaque, "top": Opaque}},
	Buckets:       {Each: Bucket, List: true},
	Bucket:        {Each: AggResult, Members: map[string]Place{"key": Opaque}},
	SuggestAnswer: {Each: SuggestEntry},
	SuggestEntry:  {Members: map[string]Place{"options": SuggestOption}},
	SuggestOption: {Members: map[string]Place{"_source": Opaque}},
	MsearchAnswer: {Stream: true, Members: answer(map[string]Place{"responses": SearchAnswer})},
	BulkAnswer:    {Stream: true, Members: answer(map[string]Place{"items": BulkAnswerItem})},
	BulkAnswerItem: {Members: map[string]Place{"index": WriteResult, "create": WriteResult, "update": WriteResult,
		"delete": WriteResult}},
	WriteResult: {Members: answer(map[string]Place{"get": Opaque})},
	MgetAnswer:  {Stream: true, Members: answer(map[string]Place{"docs": Doc})},
	Doc: {Members: answer(map[string]Place{"_source": Opaque, "fields": Opaque, "get": Opaque, "explanation": Opaque,
		"term_vectors": Opaque})},
	Shards:                 {Members: map[string]Place{"failures": ShardFailure}},
	ShardFailure:           {Members: map[string]Place{"reason": Error}},
	Error:                  {Members: map[string]Place{"root_cause": Error, "caused_by": Error, "failed_shards": ShardFailure, "suppressed": Error}},
	ByQueryAnswer:          {Members: answer(map[string]Place{"failures": ShardFailure})},
	FieldCaps:              {Members: answer(map[string]Place{"fields": "fields of field caps"})},
	"fields of field caps": {Each: FieldCapsField},
	FieldCapsField:         {Each: FieldCapsType},
	FieldCapsType:          {},

	IndicesAnswer:  {Each: IndexState, Members: map[string]Place{"error": Error}},
	IndexState:     {Members: map[string]Place{"settings": Settings, "defaults": Settings, "mappings": Mappings, "aliases": Aliases}},
	FieldMappings:  {Each: FieldMappingsT, Members: map[string]Place{"error": Error}},
	FieldMappingsT: {},
	TemplatesState: {Each: TemplateState, Members: map[string]Place{"error": Error, "index_templates": TemplateItem}},
	TemplateItem:   {Members: map[string]Place{"index_template": TemplateWhole}},
	TemplateWhole:  {Members: map[string]Place{"template": TemplateState}},
	TemplateState:  {Members: map[string]Place{"settings": Settings, "mappings": Mappings, "aliases": Aliases}},
	InfoAnswer:     {Members: answer(nil)},
	NodesAnswer:    {Members: answer(map[string]Place{"nodes": NodeMap})},
	NodeMap:        {Each: NodeInfo},
	NodeInfo:       {},
	ClusterState:   {Members: answer(map[string]Place{"metadata": ClusterMeta})},
	Pipelines:      {Each: PipelineBody, Members: map[string]Place{"error": Error}},
	SimulateAnswer: {Members: answer(map[string]Place{"docs": SimulateResult})},
	SimulateResult: {Members: map[string]Place{"doc": SimulatedDoc, "processor_results": SimulateResult, "error": Error}},
	SimulatedDoc:   {Members: map[string]Place{"_source": Opaque}},
	ClusterMeta:    {Members: map[string]Place{"indices": IndicesAnswer, "templates": TemplatesState}},
	Answer:         {Members: answer(nil)},

	RankEvalAnswer:                {Members: answer(map[string]Place{"details": "rank eval details", "failures": "rank eval failures"})},
	"rank eval details":           {Each: "rank eval detail"},
	"rank eval failures":          {Each: "rank eval failure"},
	"rank eval failure":           {Members: map[string]Place{"error": Error}},
	"rank eval detail":            {Members: map[string]Place{"hits": "rank eval hit"}},
	"rank eval hit":               {Members: map[string]Place{"hit": Hit}},
	"segments answer":             {Members: answer(map[string]Place{"indices": "segments of indices"})},
	"segments of indices":         {Each: "segments of an index"},
	"segments of an index":        {Members: map[string]Place{"shards": "segments of shards"}},
	"segments of shards":          {Each: "segments of a shard"},
	"segments of a shard":         {Members: map[string]Place{"segments": "segments"}},
	"segments":                    {Each: Segment},
	Segment:                       {},
	Snapshots:                     {Members: answer(map[string]Place{"snapshots": SnapshotInfo, "snapshot": SnapshotInfo})},
	SnapshotInfo:                  {},
	"snapshots status":            {Members: answer(map[string]Place{"snapshots": SnapshotStatus})},
	SnapshotStatus:                {Members: map[string]Place{"stats": SnapshotStats, "indices": "snapshot status of indices"}},
	"snapshot status of indices":  {Each: "snapshot status of an index"},
	"snapshot status of an index": {Members: map[string]Place{"stats": SnapshotStats, "shards": "snapshot status of shards"}},
	"snapshot status of shards":   {Each: "snapshot status of a shard"},
	"snapshot status of a shard":  {Members: map[string]Place{"stats": SnapshotStats}},
	SnapshotStats:                 {},
	HealthAnswer:                  {Members: answer(map[string]Place{"indices": "health of indices"})},
	"health of indices":           {Each: IndexHealth},
	IndexHealth:                   {},
	"statistics answer":           {Members: answer(map[string]Place{"_all": "statistics of an index", "indices": "statistics of indices"})},
	"statistics of indices":       {Each: "statistics of an index"},
	"statistics of an index":      {Members: map[string]Place{"primaries": "statistics", "total": "statistics", "shards": "statistics of shards"}},
	"statistics of shards":        {Each: "statistics of a shard"},
	"statistics of a shard":       {Each: "statistics"},
	"statistics":                  {Members: map[string]Place{"docs": StatsDocs, "store": StatsStore, "refresh": StatsRefresh}},
	StatsDocs:                     {},
	StatsStore:                    {},
	StatsRefresh:                  {},
}

func init() {
	query := shape{Members: map[string]Place{}}
	for _, name := range fieldClauses {
		query.Members[name] = Clause(name)
		grammar[Clause(name)] = shape{Each: ClauseField(name)}
		grammar[ClauseField(name)] = shape{}
	}
	for name, members := range clauses {
		query.Members[name] = Clause(name)
		grammar[Clause(name)] = shape{Members: members}
	}
	grammar[ClauseField("geo_shape")] = shape{Members: map[string]Place{"indexed_shape": IndexedDoc}}
	grammar[ClauseField("terms")] = shape{List: true}
	grammar[Query] = query

	agg := shape{Members: map[string]Place{"aggs": Aggs, "aggregations": Aggs, "meta": Opaque}}
	for name, members := range aggregations {
		agg.Members[name] = Aggregation(name)
		body := map[string]Place{"script": Script}
		for k, v := range members {
			body[k] = v
		}
		grammar[Aggregation(name)] = shape{Members: body}
	}
	agg.Members["filter"] = Query
	agg.Members["top_hits"] = Aggregation("top_hits")
	grammar[Aggregation("top_hits")] = shape{Members: searchMembers}
	grammar[Agg] = agg
}

// requestRoots are the places of request bodies by API; others are at Body.
var requestRoots = map[string]Place{
	"search": SearchBody, "count": SearchBody, "indices.validate_query": SearchBody, "explain": SearchBody,
	"delete_by_query": SearchBody, "update_by_query": SearchBody, "async_search.submit": SearchBody, "search_mvt": SearchBody,
	"search_template": TemplatedSearch, "render_search_template": TemplatedSearch,
	"scroll": ScrollBody, "clear_scroll": ScrollBody,
	"index": Document, "create": Document, "update": UpdateBody, "mget": MgetBody, "mtermvectors": MgetBody,
	"reindex":        ReindexBody,
	"field_caps":     FieldCapsBody,
	"indices.create": IndexBody, "indices.shrink": IndexBody, "indices.split": IndexBody, "indices.clone": IndexBody, "indices.rollover": IndexBody,
	"indices.put_mapping": Mappings, "indices.put_settings": Settings, "cluster.put_settings": "cluster settings body",
	"indices.put_template": TemplateBody, "indices.put_index_template": IndexTemplateBody, "cluster.put_component_template": IndexTemplateBody,
	"indices.update_aliases": AliasActions, "indices.put_alias": Alias, "indices.analyze": AnalyzeBody,
	"rank_eval": RankEvalBody, "snapshot.restore": RestoreBody, "watcher.put_watch": WatchBody, "ilm.put_lifecycle": "policy body",
	"rollup.rollup_search": SearchBody, "rollup.put_job": "rollup job",
	"put_script": StoredScriptBody, "ingest.put_pipeline": PipelineBody, "ingest.simulate": SimulateBody,
}

// requestLines are the bodies that are lines, by API.
var requestLines = map[string]lines{
	"bulk":             {BulkAction, bulkLine},
	"msearch":          {MsearchHeader, func([]byte) (Place, bool) { return SearchBody, true }},
	"msearch_template": {MsearchHeader, func([]byte) (Place, bool) { return TemplatedSearch, true }},
}

// bulkLine tells what follows an action line.
func bulkLine(head []byte) (body Place, follows bool) {
	at := skipSpace(head, 0)
	if at == len(head) || head[at] != '{' {
		return Opaque, true
	}
	at = skipSpace(head, at+1)
	if at == len(head) || head[at] != '"' {
		return Opaque, true
	}
	end, err := stringEnd(head, at)
	if err != nil {
		return Opaque, true
	}
	switch string(unquote(head[at:end])) {
	case "delete":
		return Opaque, false
	case "update":
		return UpdateBody, true
	}
	return Document, true
}

// answerRoots are the places of answers by API; others are at Answer.
var answerRoots = map[string]Place{
	"search": SearchAnswer, "scroll": SearchAnswer, "search_template": SearchAnswer, "async_search.submit": SearchAnswer, "async_search.get": SearchAnswer,
	"msearch": MsearchAnswer, "msearch_template": MsearchAnswer,
	"rollup.rollup_search": SearchAnswer, "rank_eval": RankEvalAnswer, "indices.segments": "segments answer",
	"snapshot.get": Snapshots, "snapshot.create": Snapshots, "snapshot.status": "snapshots status",
	"index": WriteResult, "create": WriteResult, "update": WriteResult, "delete": WriteResult, "bulk": BulkAnswer,
	"get": Doc, "explain": Doc, "termvectors": Doc, "mget": MgetAnswer, "mtermvectors": MgetAnswer,
	"get_source":      Opaque,
	"delete_by_query": ByQueryAnswer, "update_by_query": ByQueryAnswer, "reindex": ByQueryAnswer,
	"indices.get": IndicesAnswer, "indices.get_mapping": IndicesAnswer, "indices.get_settings": IndicesAnswer,
	"indices.get_alias": IndicesAnswer, "indices.get_field_mapping": FieldMappings,
	"indices.get_template": TemplatesState, "indices.get_index_template": TemplatesState,
	"cluster.health": HealthAnswer, "indices.stats": "statistics answer",
	"info": InfoAnswer, "nodes.info": NodesAnswer, "nodes.stats": NodesAnswer, "cluster.state": ClusterState,
	"suggest": SuggestAnswer, "ingest.simulate": SimulateAnswer, "ingest.get_pipeline": Pipelines, "field_caps": FieldCaps,
}
