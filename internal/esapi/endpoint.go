package esapi

import "cmp"

// An Endpoint is what a request asks for: the API by the name that
// Elasticsearch's own API specification gives it ("index", "search",
// "indices.create", "cat.indices"), and the variable parts of its path,
// percent-decoded. Parts that the path does not have are empty.
//
// ParseEndpoint reads one in the client's dialect, RequestFor writes it in the
// cluster's.
type Endpoint struct {
	API    string
	Method string // GET, HEAD, POST, PUT or DELETE

	Index       string // may be a list, an alias, a pattern or date math
	Type        string // mapping type; may be a list. Also the task type of inference and the system of monitoring.bulk
	ID          string
	Name        string // of an alias, template, repository, setting, policy, user, cat thread pool ...
	Metric      string
	IndexMetric string // of nodes.stats
	Field       string
	NodeID      string // of nodes.info it may be a metric: GET /_nodes/http
	ScrollID    string
	TaskID      string
	Target      string // new index of shrink, split, clone, rollover, downsample; new snapshot of clone
	Snapshot    string
	Feature     string // 5.x: GET /{index}/{feature}; 8.x: health report
	Context     string // script context
	Lang        string // 5.x: language of a stored script
	Block       string
	Alias       string // rollover
	Zoom, X, Y  string // of a vector tile
	Item        string // the inner of two names: a rule of a set, an action of a watch

	// Path is the request's path as it came, percent-encoded. An Endpoint that
	// is not in the table (API == "") is forwarded under this path.
	Path string
}

// HasBodyNDJSON reports whether the body of this API is a sequence of lines,
// each a JSON object.
func (e Endpoint) HasBodyNDJSON() bool {
	switch e.API {
	case "bulk", "msearch", "msearch_template", "mpercolate", "monitoring.bulk":
		return true
	}
	return false
}

// TakeParams gives a bulk the index and the type that some clients write as
// parameters, and takes these out of p. What the path says wins.
func (e *Endpoint) TakeParams(p *Params) {
	if e.API != "bulk" || e.Index == "" && p.Get("index") == "" {
		return
	}
	e.Index, e.Type = cmp.Or(e.Index, p.Get("index")), cmp.Or(e.Type, p.Get("type"))
	p.Drop("index")
	p.Drop("type")
}
