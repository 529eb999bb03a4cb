package emulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A kind is one of the three APIs.
type kind struct {
	name   string // in descriptions
	action string // of the task
	// Whether answers to it have these numbers.
	updated, created bool
}

var (
	deleteByQuery = &kind{"delete-by-query", "indices:data/write/delete/byquery", false, false}
	updateByQuery = &kind{"update-by-query", "indices:data/write/update/byquery", true, false}
	reindex       = &kind{"reindex", "indices:data/write/reindex", true, true}
)

// A job is what a client asked for.
type job struct {
	*kind
	dialect     esapi.Version
	header      http.Header
	description string

	search searching
	slices int
	auto   bool // the indices decide how many slices there are

	noQuery  bool // where one is needed
	most     int  // documents that are changed at most; all if it is less than 1
	proceed  bool
	script   string // raw JSON
	dest     destination
	bulk     esapi.Params
	pipeline string
	refresh  bool
	wait     bool
	rate     float32
}

// searching is the search of a job.
type searching struct {
	indices, types string
	params         esapi.Params
	body           []byte // what the client gave, without what is not the search's own
	flags          string // members to be added to it
	batch          int
	keep           string // how long the scroll lives between two pages
	slice          string // raw JSON, "" if there is none
	// wrapped is the error of a reindex around an error in its source; nil for
	// other jobs.
	wrapped *esapi.Error
}

// A destination is where a reindex writes to.
type destination struct {
	index, typ, routing, versionType, opType string
}

const (
	defaultBatch = 1000
	defaultKeep  = "5m"
)

// searchParams are the parameters of a search that an API by query takes, too.
// Those that the search gets are passedParams.
var (
	passedParams = []string{
		"q", "df", "analyzer", "analyze_wildcard", "lenient", "default_operator", "lowercase_expanded_terms", "locale",
		"routing", "preference", "search_type", "request_cache", "ignore_unavailable", "allow_no_indices", "expand_wildcards", "ignore_throttled",
		"batched_reduce_size", "pre_filter_shard_size", "max_concurrent_shard_requests", "allow_partial_search_results", "ccs_minimize_roundtrips",
		"terminate_after", "sort", "stats", "_source", "_source_include", "_source_exclude", "_source_includes", "_source_excludes",
	}
	droppedParams = []string{
		"from", "explain", "version", "seq_no_primary_term", "stored_fields", "docvalue_fields", "fields", "track_scores", "track_total_hits",
		"typed_keys", "rest_total_hits_as_int", "suggest_field", "suggest_text", "suggest_size", "suggest_mode", "source", "source_content_type",
	}
	ownParams = []string{
		"size", "scroll_size", "scroll", "search_timeout", "timeout", "conflicts", "slices", "requests_per_second", "refresh",
		"wait_for_completion", "wait_for_active_shards",
	}
	reindexParams = []string{"slices", "requests_per_second", "refresh", "wait_for_completion", "wait_for_active_shards", "timeout"}
)

// parse reads a request.
func (e *Emulator) parse(dialect esapi.Version, ep esapi.Endpoint, r *esapi.Request) (*job, error) {
	if t := r.Header.Get("Content-Type"); len(r.Body) > 0 && t != "" && !strings.Contains(t, "json") {
		return nil, esapi.Unsupported(fmt.Sprintf("%s with a body in the format %q: %s, which takes JSON only; send it as application/json", ep.API, t, e.Why))
	}
	j := &job{dialect: dialect, header: passedOn(r.Header)}
	v := &values{params: &r.Params, dialect: dialect}
	j.slices, j.auto = v.slices()
	j.rate = v.requestsPerSecond()
	j.refresh = v.bool("refresh", false)
	j.wait = v.bool("wait_for_completion", true)
	v.activeShards()
	for _, name := range []string{"timeout", "wait_for_active_shards"} {
		if r.Params.Has(name) {
			j.bulk.Set(name, r.Params.Get(name))
		}
	}
	v.duration("timeout")
	if j.search.keep = v.duration("scroll"); long(j.search.keep) == 0 {
		j.search.keep = defaultKeep
	}
	var err error
	if ep.API == "reindex" {
		err = e.parseReindex(j, v, r)
	} else {
		err = e.parseByQuery(j, v, ep, r)
	}
	if v.err != nil {
		return nil, v.err
	}
	if err == nil {
		err = j.limited()
	}
	return j, err
}

// limited checks how many documents are asked for.
func (j *job) limited() error {
	if j.most < -1 {
		return tooFew(j.most)
	}
	return j.enoughFor(j.slices)
}

// enoughFor checks that each slice has its share of a limited number of
// documents: one without would be a slice without a limit.
func (j *job) enoughFor(n int) error {
	switch {
	case j.most < 0 || j.most >= n:
		return nil
	case j.dialect.AtLeast(v73) && j.most < n:
		return esapi.IllegalArgument("[max_docs] should be >= [slices]")
	}
	return tooFew(j.most / n)
}

func tooFew(n int) error {
	return esapi.ValidationFailed(fmt.Sprintf("size should be greater than 0 if the request is limited to some number of documents or -1 if it isn't but it was [%d]", n))
}

func (e *Emulator) parseByQuery(j *job, v *values, ep esapi.Endpoint, r *esapi.Request) error {
	j.kind = updateByQuery
	if ep.API == "delete_by_query" {
		j.kind = deleteByQuery
	}
	p := &r.Params
	names := slices.Concat(passedParams, droppedParams, ownParams)
	if j.dialect.AtLeast(v73) {
		names = append(names, "max_docs")
	}
	if j.kind == updateByQuery {
		names = append(names, "pipeline")
		j.pipeline = p.Get("pipeline")
	}
	v.known(r.Path, names...)

	j.search.indices, j.search.types = ep.Index, ep.Type
	for _, name := range passedParams {
		if p.Has(name) {
			j.search.params.Set(name, p.Get(name))
		}
	}
	if v.duration("search_timeout"); p.Has("search_timeout") {
		j.search.params.Set("timeout", p.Get("search_timeout"))
	}
	body := r.Body
	if len(bytes.TrimSpace(body)) == 0 && p.Has("source") {
		body = []byte(p.Get("source"))
	}
	asked := bodyOf(body)
	j.description = j.name + " " + brackets(ep.Index)
	if ep.Type != "" {
		j.description += brackets(ep.Type)
	}

	conflicts := p.Get("conflicts")
	if c := asked.take("conflicts"); c.Exists() {
		conflicts = c.String()
	}
	j.readConflicts(v, conflicts)
	j.readMost(v, asked)
	if j.kind == updateByQuery {
		if script := asked.take("script"); script.Exists() {
			j.script = script.Raw
			j.description += " updated with " + describeScript(script)
		}
	}
	if err := j.takeSearch(v, asked, p); err != nil {
		return err
	}
	j.search.batch = v.size("scroll_size", "size", j.search.batch)
	if v.err != nil {
		return v.err
	}
	if err := j.checkBatch(); err != nil {
		return err
	}
	j.noQuery = j.kind == deleteByQuery && j.dialect.AtLeast(v6) && !asked.has("query") && !p.Has("q") && !asked.broken
	if filtered := asked.has("_source") || slices.ContainsFunc(passedParams, func(name string) bool { return strings.HasPrefix(name, "_source") && p.Has(name) }); filtered && j.script != "" {
		return esapi.Unsupported("an update by query with a script that is to see a part of _source: " + e.Why + "; let the script see all of it")
	}
	if j.script != "" && j.pipeline != "" {
		return esapi.Unsupported("an update by query with a script and a pipeline: " + e.Why + "; run the script and the pipeline one after the other")
	}
	return nil
}

// readConflicts reads what is done when a document has changed meanwhile.
func (j *job) readConflicts(v *values, text string) {
	switch text {
	case "proceed":
		j.proceed = true
	case "abort", "":
	default:
		v.fail(badConflicts(text))
	}
}

func badConflicts(text string) *esapi.Error {
	return esapi.IllegalArgument(`conflicts may only be "proceed" or "abort" but was [` + text + "]")
}

// readMost reads how many documents are to be changed at most: size, and from
// 7.3 on max_docs. In a body, size means this in 5.x only.
func (j *job) readMost(v *values, asked *body) {
	j.most = -1
	if j.dialect.Before(v73) {
		if j.dialect.Before(v6) {
			if s := asked.take("size"); s.Exists() {
				j.most = int(s.Int())
			}
		}
		j.most = v.size("size", "size", j.most)
		return
	}
	if m := asked.take("max_docs"); m.Exists() {
		j.most = int(m.Int())
		if j.most < -1 {
			v.fail(esapi.IllegalArgument(fmt.Sprintf("[max_docs] parameter cannot be negative, found [%d]", j.most)))
		}
	}
	for _, name := range []string{"max_docs", "size"} {
		n := v.size(name, "max_docs", -1)
		if n >= 0 && j.most >= 0 && n != j.most {
			v.fail(esapi.IllegalArgument(fmt.Sprintf("[max_docs] set to two different values [%d] and [%d]", j.most, n)))
		}
		if n >= 0 {
			j.most = n
		}
	}
}

// takeSearch makes the body of the search of what the client's body has left,
// and takes out what the job itself decides.
func (j *job) takeSearch(v *values, asked *body, p *esapi.Params) error {
	j.search.batch = defaultBatch
	if s := asked.take("size"); s.Type == gjson.Number {
		j.search.batch = int(s.Int())
	}
	from := -1
	if f := asked.take("from"); f.Type == gjson.Number {
		from = int(f.Int())
	}
	if p != nil {
		from = v.int("from", from)
	}
	var problems []string
	if from > 0 && j.dialect.AtLeast(v6) {
		problems = append(problems, "using [from] is not allowed in a scroll context")
	}
	if from >= 0 {
		problems = append(problems, "from is not supported in this context")
	}
	if asked.has("stored_fields") || p != nil && p.Has("stored_fields") {
		problems = append(problems, "stored_fields is not supported in this context")
	}
	slice := asked.take("slice")
	if slice.Exists() {
		j.search.slice = slice.Raw
		if j.slices > 1 || j.auto {
			if j.dialect.Before(v6) {
				problems = append(problems, "can't specify both slice and workers")
			} else {
				problems = append(problems, "can't specify both manual and automatic slicing at the same time")
			}
		}
	}
	if len(problems) > 0 {
		return esapi.ValidationFailed(problems...)
	}
	asked.take("version")
	asked.take("seq_no_primary_term")
	var flags []string
	if !asked.has("sort") && (p == nil || !p.Has("sort")) {
		flags = append(flags, `"sort":["_doc"]`)
	}
	flags = append(flags, `"version":true`)
	if j.bySeqNo() {
		flags = append(flags, `"seq_no_primary_term":true`)
	}
	if (j.kind == deleteByQuery || j.script != "") && !asked.has("_source") && (p == nil || !p.Has("_source")) {
		flags = append(flags, `"_source":false`)
	}
	j.search.flags = strings.Join(flags, ",")
	j.search.body = asked.rest()
	return nil
}

// bySeqNo reports whether writes are conditional on the sequence number that was
// found; else they are on the version.
func (j *job) bySeqNo() bool { return j.kind != reindex && j.dialect.AtLeast(v67) }

// sliceID is the number of the slice that the job is of what its client does by
// several jobs, -1 if it is none.
func (j *job) sliceID() int {
	if id := gjson.Get(j.search.slice, "id"); id.Exists() {
		return int(id.Int())
	}
	return -1
}

func (j *job) checkBatch() error {
	switch {
	case j.dialect.Before(v6):
		if j.search.batch < 0 {
			j.search.batch = 10 // the default of a search
		}
	case j.search.batch < 0:
		return esapi.IllegalArgument(fmt.Sprintf("[size] parameter cannot be negative, found [%d]", j.search.batch))
	case j.search.batch == 0:
		return esapi.ValidationFailed("[size] cannot be [0] in a scroll context")
	}
	return nil
}

// A body is the JSON object that a client sent. What is none stays whole: the
// cluster says what is wrong with it.
type body struct {
	raw     []byte
	members []member
	broken  bool
}

type member struct {
	key   string
	name  string // raw
	value gjson.Result
}

func bodyOf(raw []byte) *body {
	b := &body{raw: raw}
	if len(bytes.TrimSpace(raw)) == 0 {
		return b
	}
	if !esapi.ValidJSON(raw) {
		b.broken = true
		return b
	}
	if o := gjson.ParseBytes(raw); o.IsObject() {
		o.ForEach(func(k, v gjson.Result) bool {
			b.members = append(b.members, member{k.String(), k.Raw, v})
			return true
		})
	}
	return b
}

func (b *body) get(key string) (found gjson.Result) {
	for _, m := range b.members {
		if m.key == key {
			found = m.value
		}
	}
	return found
}

func (b *body) has(key string) bool { return b.get(key).Exists() }

// take takes a member out.
func (b *body) take(key string) gjson.Result {
	found := b.get(key)
	b.members = slices.DeleteFunc(b.members, func(m member) bool { return m.key == key })
	return found
}

// rest is the body of what has not been taken out, as Elasticsearch writes it
// when it hands it to the parser of searches: so that errors name the same place.
func (b *body) rest() []byte {
	if b.broken {
		return b.raw
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range b.members {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(m.name)
		out.WriteByte(':')
		if err := json.Compact(&out, []byte(m.value.Raw)); err != nil {
			out.WriteString(m.value.Raw)
		}
	}
	out.WriteByte('}')
	return out.Bytes()
}

// brackets writes a list as descriptions have it.
func brackets(list string) string {
	return "[" + strings.ReplaceAll(list, ",", ", ") + "]"
}

// describeScript writes a script as Java prints it.
func describeScript(s gjson.Result) string {
	typ, lang, code := "inline", s.Get("lang").String(), s.Get("source").String()
	if code == "" {
		code = s.Get("inline").String()
	}
	if id := s.Get("id"); id.Exists() {
		typ, code = "stored", id.String()
	}
	if s.Type == gjson.String {
		code = s.String()
	}
	if lang == "" && typ == "inline" {
		lang = "painless"
	}
	return fmt.Sprintf("Script{type=%s, lang='%s', idOrCode='%s', options={}, params={}}", typ, lang, code)
}
