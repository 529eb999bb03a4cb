package esapi

// An Endpoint is what a request asks for: the API by the name that
// Elasticsearch's own API specification gives it ("index", "search",
// "indices.create", "cat.indices"), and the variable parts of its path,
// percent-decoded. Parts that the path does not have are empty.
type Endpoint struct {
	API    string
	Method string // GET, HEAD, POST, PUT or DELETE

	Index    string // may be a list, an alias or a pattern
	Type     string // mapping type; may be a list
	ID       string
	Name     string // of an alias, template, repository, script, pipeline, cat thread pool ...
	Metric   string
	Field    string
	NodeID   string
	ScrollID string
	TaskID   string
	Target   string // new index of shrink, split, clone, rollover
	Snapshot string
	Feature  string // 5.x: GET /{index}/{feature}
	Context  string // script context
	Block    string
	Alias    string // rollover

	// Path is the request's path as it came, percent-encoded. An Endpoint that
	// is not in the table (API == "") is forwarded under this path.
	Path string
}
