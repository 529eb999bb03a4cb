package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A document is a document, or what is remembered of a deleted one.
type document struct {
	id, routing string
	version     int64
	source      []byte
	deleted     time.Time // not zero: a deletion
}

// A Doc is a document as tests compare it.
type Doc struct {
	Index, ID, Routing string
	Version            int64
	Source             string
}

// Docs lists the documents of all indices, in order.
func (c *Cluster) Docs() []Doc {
	c.mu.Lock()
	defer c.mu.Unlock()
	docs := []Doc{}
	for _, i := range c.indices {
		for _, d := range i.docs {
			if d.deleted.IsZero() {
				docs = append(docs, Doc{i.name, d.id, d.routing, d.version, string(d.source)})
			}
		}
	}
	sort.Slice(docs, func(a, b int) bool {
		return docs[a].Index+"/"+docs[a].ID+"/"+docs[a].Routing < docs[b].Index+"/"+docs[b].ID+"/"+docs[b].Routing
	})
	return docs
}

// op is one document's write.
type op struct {
	verb, id, routing, typ string
	version                int64 // -1: none given
	versionType            string
	body                   []byte
	pipeline               string
	wantSource             bool
}

// outcome is what became of a write.
type outcome struct {
	status  int
	result  string
	version int64
	source  []byte // after an update
}

func key(id, routing string) string { return id + "\x00" + routing }

// current is the version that a write meets; 0 if there is none.
func (c *Cluster) current(i *index, k string) (d *document, version int64) {
	d = i.docs[k]
	if d == nil {
		return nil, 0
	}
	if !d.deleted.IsZero() && c.now().Sub(d.deleted) > i.gc {
		delete(i.docs, k)
		return nil, 0
	}
	if d.deleted.IsZero() {
		return d, d.version
	}
	return nil, d.version
}

// write carries out one write.
func (c *Cluster) write(i *index, o op) (outcome, *failure) {
	if i.blocked("write") || i.blocked("read_only") {
		return outcome{}, &failure{403, "cluster_block_exception", "index [" + i.name + "] blocked by: [FORBIDDEN/8/index write (api)];"}
	}
	k := key(o.id, o.routing)
	d, current := c.current(i, k)
	conflict := &failure{409, "version_conflict_engine_exception", fmt.Sprintf("[%s]: version conflict, current version [%d] is higher or equal to the one provided [%d]", o.id, current, o.version)}
	if o.verb == "create" && d != nil {
		return outcome{}, conflict
	}
	version := current + 1
	switch o.versionType {
	case "external":
		if current > 0 && o.version <= current {
			return outcome{}, conflict
		}
		version = o.version
	case "external_gte":
		if current > 0 && o.version < current {
			return outcome{}, conflict
		}
		version = o.version
	default:
		if o.version >= 0 && o.version != current {
			return outcome{}, conflict
		}
	}
	switch o.verb {
	case "delete":
		i.docs[k] = &document{id: o.id, routing: o.routing, version: version, deleted: c.now()}
		if d == nil {
			return outcome{404, "not_found", version, nil}, nil
		}
		return outcome{200, "deleted", version, nil}, nil
	case "update":
		return c.update(i, o, k, d, version)
	}
	source, fail := c.pipe(i, o)
	if fail != nil {
		return outcome{}, fail
	}
	if fail := c.learn(i, source); fail != nil {
		return outcome{}, fail
	}
	i.docs[k] = &document{id: o.id, routing: o.routing, version: version, source: slices.Clone(source)}
	if d == nil {
		return outcome{201, "created", version, nil}, nil
	}
	return outcome{200, "updated", version, nil}, nil
}

// pipe runs the pipeline of a write: it adds a field with its name.
func (c *Cluster) pipe(i *index, o op) ([]byte, *failure) {
	name := o.pipeline
	if name == "" && c.Version.AtLeast(esapi.V(6, 5)) {
		name = strings.Trim(string(i.settings["default_pipeline"]), `"`)
	}
	source, fail := c.through(name, o.body)
	if final := strings.Trim(string(i.settings["final_pipeline"]), `"`); fail == nil && final != "" {
		return c.through(final, source)
	}
	return source, fail
}

func (c *Cluster) through(name string, source []byte) ([]byte, *failure) {
	if name == "" || (name == "_none" && c.Version.AtLeast(esapi.V(6, 5))) {
		return source, nil
	}
	if c.named["pipeline"][name] == nil {
		return nil, &failure{400, "illegal_argument_exception", "pipeline with id [" + name + "] does not exist"}
	}
	out, err := sjson.SetBytes(slices.Clone(source), "piped_by", gjson.GetBytes(source, "piped_by").String()+name)
	if err != nil {
		return nil, &failure{400, "mapper_parsing_exception", err.Error()}
	}
	return out, nil
}

// learn adds the fields of a document to the mapping, guessing their types as
// dynamic mapping does, and rejects values that do not fit.
func (c *Cluster) learn(i *index, source []byte) *failure {
	if !json.Valid(source) || !gjson.ParseBytes(source).IsObject() {
		return &failure{400, "mapper_parsing_exception", "failed to parse"}
	}
	if c.Version.AtLeast(esapi.V(6, 0)) && bytes.Count(esapi.KeysOnce(source), []byte(":")) != bytes.Count(source, []byte(":")) {
		return &failure{400, "mapper_parsing_exception", "failed to parse"} // a key is repeated
	}
	news := map[string]string{}
	var fail *failure
	gjson.ParseBytes(source).ForEach(func(name, v gjson.Result) bool {
		guess := ""
		switch {
		case v.Type == gjson.Number && strings.ContainsAny(v.Raw, ".eE"):
			guess = "float"
		case v.Type == gjson.Number:
			guess = "long"
		case v.IsBool():
			guess = "boolean"
		case v.Type == gjson.String:
			guess = "text"
		case v.IsObject():
			guess = "object"
		default:
			return true
		}
		have := i.fields[name.String()]
		switch {
		case have == "":
			news[name.String()] = guess
		case (have == "long" || have == "float") && guess == "text":
			if _, err := strconv.ParseFloat(v.String(), 64); err != nil {
				fail = &failure{400, "mapper_parsing_exception", "failed to parse field [" + name.String() + "] of type [" + have + "]"}
			}
		case have == "object" != (guess == "object"):
			fail = &failure{400, "mapper_parsing_exception", "object mapping for [" + name.String() + "] tried to parse field as something else"}
		}
		return fail == nil
	})
	if fail == nil && len(news) > 0 {
		maps.Copy(i.fields, news)
		c.state++
	}
	return fail
}

func (c *Cluster) update(i *index, o op, k string, d *document, version int64) (outcome, *failure) {
	body := gjson.ParseBytes(o.body)
	if d == nil {
		upsert := body.Get("upsert").Raw
		if upsert == "" && body.Get("doc_as_upsert").Bool() {
			upsert = body.Get("doc").Raw
		}
		if upsert == "" {
			return outcome{}, &failure{404, "document_missing_exception", "[" + o.id + "]: document missing"}
		}
		if fail := c.learn(i, []byte(upsert)); fail != nil {
			return outcome{}, fail
		}
		i.docs[k] = &document{id: o.id, routing: o.routing, version: version, source: []byte(upsert)}
		return outcome{201, "created", version, []byte(upsert)}, nil
	}
	source := string(d.source)
	body.Get("doc").ForEach(func(name, v gjson.Result) bool {
		source, _ = sjson.SetRaw(source, gjson.Escape(name.String()), v.Raw)
		return true
	})
	if source == string(d.source) && body.Get("detect_noop").Raw != "false" {
		return outcome{200, "noop", d.version, d.source}, nil
	}
	if fail := c.learn(i, []byte(source)); fail != nil {
		return outcome{}, fail
	}
	i.docs[k] = &document{id: o.id, routing: o.routing, version: version, source: []byte(source)}
	return outcome{200, "updated", version, []byte(source)}, nil
}

// typed checks a document's type against the index's.
func (c *Cluster) typed(i *index, typ string) *failure {
	if c.Version.Major >= 7 {
		return nil
	}
	if i.typ == "" {
		i.typ = typ
		c.state++
	}
	if i.typ != typ {
		return &failure{400, "illegal_argument_exception", "Rejecting mapping update to [" + i.name + "] as the final mapping would have more than 1 type: [" + i.typ + ", " + typ + "]"}
	}
	return nil
}

func (c *Cluster) single(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	i, routing, fail := c.writable(e.Index, e.Type)
	if fail != nil {
		return 0, nil, fail
	}
	if fail := c.typed(i, e.Type); fail != nil {
		return 0, nil, fail
	}
	o := op{verb: e.API, id: e.ID, routing: r.Params.Get("routing"), typ: e.Type, version: -1, versionType: r.Params.Get("version_type"),
		body: body, pipeline: r.Params.Get("pipeline"), wantSource: r.Params.Get("_source") == "true"}
	if routing != "" {
		o.routing = routing
	}
	if r.Params.Get("op_type") == "create" {
		o.verb = "create"
	}
	if v := r.Params.Get("version"); v != "" {
		o.version, _ = strconv.ParseInt(v, 10, 64)
	}
	if o.id == "" {
		c.uuids++
		o.id = fmt.Sprintf("auto%d", c.uuids)
	}
	out, fail := c.write(i, o)
	if fail != nil {
		return 0, nil, fail
	}
	return out.status, c.item(i, o, out), nil
}

// item is the answer to a write.
func (c *Cluster) item(i *index, o op, out outcome) []byte {
	b := `{"_index":"` + i.name + `"`
	if c.Version.Major < 8 {
		typ := i.typ
		if c.Version.Major == 7 {
			typ = "_doc"
		}
		b += `,"_type":"` + typ + `"`
	}
	b += `,"_id":` + string(encode(o.id)) + `,"_version":` + strconv.FormatInt(out.version, 10) + `,"result":"` + out.result + `"`
	b += `,"_shards":{"total":1,"successful":1,"failed":0}`
	if o.verb == "update" && o.wantSource {
		b += `,"get":{"found":true,"_source":` + string(out.source) + `}`
	}
	return []byte(b + `}`)
}

func (c *Cluster) bulk(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	var items [][]byte
	failed := false
	lines := bytes.Split(body, []byte("\n"))
	for n := 0; n < len(lines)-1; n++ {
		if len(bytes.TrimSpace(lines[n])) == 0 {
			continue
		}
		var o op
		var meta gjson.Result
		gjson.ParseBytes(lines[n]).ForEach(func(k, v gjson.Result) bool { o.verb, meta = k.String(), v; return true })
		if c.Version.Major >= 8 && meta.Get("_type").Exists() {
			return 0, nil, &failure{400, "illegal_argument_exception", "Action/metadata line [1] contains an unknown parameter [_type]"}
		}
		first := func(keys ...string) string {
			for _, k := range keys {
				if v := meta.Get(k); v.Exists() {
					return v.String()
				}
			}
			return ""
		}
		name := first("_index")
		if name == "" {
			name = e.Index
		}
		o.typ, o.id, o.versionType = first("_type"), first("_id"), first("version_type", "_version_type")
		if o.typ == "" {
			o.typ = e.Type
		}
		o.routing = first("routing", "_routing")
		if o.routing == "" {
			o.routing = r.Params.Get("routing")
		}
		o.pipeline = first("pipeline")
		if o.pipeline == "" {
			o.pipeline = r.Params.Get("pipeline")
		}
		o.version = -1
		if v := first("version", "_version"); v != "" {
			o.version, _ = strconv.ParseInt(v, 10, 64)
		}
		o.wantSource = r.Params.Get("_source") == "true" || meta.Get("_source").Raw == "true"
		if o.verb != "delete" {
			n++
			if n >= len(lines) {
				return 0, nil, &failure{400, "illegal_argument_exception", "no source"}
			}
			o.body = lines[n]
		}
		item, ok := c.bulkItem(name, o)
		failed = failed || !ok
		items = append(items, item)
	}
	return 200, []byte(`{"took":1,"errors":` + strconv.FormatBool(failed) + `,"items":[` + string(bytes.Join(items, []byte(","))) + `]}`), nil
}

func (c *Cluster) bulkItem(name string, o op) ([]byte, bool) {
	c.bulkItems++
	i, routing, fail := c.writable(name, o.typ)
	if fail == nil {
		fail = c.typed(i, o.typ)
	}
	if routing != "" {
		o.routing = routing
	}
	if o.id == "" {
		c.uuids++
		o.id = fmt.Sprintf("auto%d", c.uuids)
	}
	var out outcome
	if fail == nil {
		out, fail = c.write(i, o)
	}
	if fail != nil {
		concrete := name
		if i != nil {
			concrete = i.name
		}
		return encode(map[string]any{o.verb: map[string]any{"_index": concrete, "_id": o.id, "status": fail.status, "error": fail.object()}}), false
	}
	item := bytes.TrimSuffix(c.item(i, o, out), []byte("}"))
	return []byte(`{"` + o.verb + `":` + string(item) + `,"status":` + strconv.Itoa(out.status) + `}}`), true
}

func (c *Cluster) get(e esapi.Endpoint, r *esapi.Request) (int, any, *failure) {
	doc := c.read(e.Index, e.ID, r.Params.Get("routing"), true)
	if !gjson.GetBytes(doc, "found").Bool() {
		return 404, doc, nil
	}
	return 200, doc, nil
}

func (c *Cluster) mget(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	var docs [][]byte
	gjson.GetBytes(body, "docs").ForEach(func(_, d gjson.Result) bool {
		name := d.Get("_index").String()
		if name == "" {
			name = e.Index
		}
		routing := d.Get("routing").String()
		if routing == "" {
			routing = d.Get("_routing").String()
		}
		docs = append(docs, c.read(name, d.Get("_id").String(), routing, r.Params.Get("_source") != "false"))
		return true
	})
	return 200, []byte(`{"docs":[` + string(bytes.Join(docs, []byte(","))) + `]}`), nil
}

// read is a document as get and mget show it.
func (c *Cluster) read(name, id, routing string, source bool) []byte {
	found := c.resolve(name)
	if len(found) == 0 || name == "" {
		return encode(map[string]any{"_index": name, "_id": id, "error": failure{404, "index_not_found_exception", "no such index [" + name + "]"}.object()})
	}
	i := found[0]
	if i.closed {
		return encode(map[string]any{"_index": i.name, "_id": id, "error": failure{400, "index_closed_exception", "closed"}.object()})
	}
	if r := i.aliases[name].IndexRouting; r != "" {
		routing = r
	}
	d, _ := c.current(i, key(id, routing))
	if d == nil {
		return encode(map[string]any{"_index": i.name, "_id": id, "found": false})
	}
	b := `{"_index":"` + i.name + `","_id":` + string(encode(id)) + `,"_version":` + strconv.FormatInt(d.version, 10)
	if d.routing != "" {
		b += `,"_routing":` + string(encode(d.routing))
	}
	b += `,"found":true`
	if source {
		b += `,"_source":` + string(d.source)
	}
	return []byte(b + `}`)
}

// search finds the documents of a term query on a top-level field, or of no
// query; other queries find all. With a scroll it gives them page by page, as
// they are now, and a slice of them if that is asked for.
func (c *Cluster) search(e esapi.Endpoint, r *esapi.Request, body []byte) (int, any, *failure) {
	ask := gjson.ParseBytes(body)
	hits := []any{}
	found := c.resolve(e.Index)
	if len(found) == 0 && e.Index != "" && !strings.ContainsAny(e.Index, "*,") {
		return 0, nil, &failure{404, "index_not_found_exception", "no such index [" + e.Index + "]"}
	}
	if fail := c.there(e.Index, true); fail != nil && len(found) > 0 {
		return 0, nil, fail
	}
	for _, i := range found {
		for _, key := range slices.Sorted(maps.Keys(i.docs)) {
			d := i.docs[key]
			if !d.deleted.IsZero() || !inSlice(ask.Get("slice"), d.id) || !matches(ask.Get("query"), d.source) {
				continue
			}
			hit := map[string]any{"_index": i.name, "_id": d.id, "_version": d.version}
			if ask.Get("_source").Raw != "false" {
				hit["_source"] = json.RawMessage(d.source)
			}
			if i.typ != "" {
				hit["_type"] = i.typ
			}
			if d.routing != "" {
				hit["_routing"] = d.routing
			}
			hits = append(hits, hit)
		}
	}
	if e.API == "count" {
		return 200, map[string]any{"count": len(hits), "_shards": map[string]any{"total": 1, "successful": 1, "failed": 0}}, nil
	}
	if !r.Params.Has("scroll") {
		return 200, map[string]any{"hits": map[string]any{"total": len(hits), "hits": hits}}, nil
	}
	size, err := strconv.Atoi(r.Params.Get("size"))
	if err != nil {
		size = 10
	}
	if n := ask.Get("size"); n.Exists() {
		size = int(n.Int())
	}
	c.uuids++
	id := fmt.Sprintf("scroll%d", c.uuids)
	c.scrolls[id] = &scroll{size: size, total: len(hits), left: hits}
	return c.page(id)
}

// inSlice reports whether a document belongs to a slice of a scroll.
func inSlice(slice gjson.Result, id string) bool {
	n := uint32(slice.Get("max").Uint())
	if n == 0 {
		return true
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return h.Sum32()%n == uint32(slice.Get("id").Uint())
}

// matches reports whether a term query finds a document.
func matches(query gjson.Result, source []byte) bool {
	found := true
	query.Get("term").ForEach(func(field, want gjson.Result) bool {
		if v := want.Get("value"); v.Exists() {
			want = v
		}
		found = gjson.GetBytes(source, gjson.Escape(field.String())).String() == want.String()
		return found
	})
	return found
}

// Scrolls is the number of scrolls that are open.
func (c *Cluster) Scrolls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.scrolls)
}

// stats tells the size of indices.
func (c *Cluster) stats(e esapi.Endpoint) (int, any, *failure) {
	size := 0
	for _, i := range c.resolve(e.Index) {
		for _, d := range i.docs {
			size += len(d.source)
		}
	}
	return 200, []byte(fmt.Sprintf(`{"_all":{"primaries":{"store":{"size_in_bytes":%d}}}}`, size)), nil
}

// A scroll is what is left of a search.
type scroll struct {
	size, total int
	left        []any
}

// scroll gives the next page of a search, or ends searches.
func (c *Cluster) scroll(e esapi.Endpoint, body []byte) (int, any, *failure) {
	if e.API == "clear_scroll" {
		for _, id := range gjson.GetBytes(body, "scroll_id").Array() {
			delete(c.scrolls, id.String())
		}
		return 200, map[string]any{"succeeded": true}, nil
	}
	return c.page(gjson.GetBytes(body, "scroll_id").String())
}

func (c *Cluster) page(id string) (int, any, *failure) {
	s := c.scrolls[id]
	if s == nil {
		return 0, nil, &failure{404, "search_context_missing_exception", "No search context found for id [" + id + "]"}
	}
	n := min(s.size, len(s.left))
	hits := s.left[:n]
	s.left = s.left[n:]
	return 200, []byte(`{"_scroll_id":"` + id + `","timed_out":false,"hits":` + string(encode(map[string]any{"total": s.total, "hits": hits})) + `}`), nil
}

// Set puts a document in place whatever its version was, as no request could.
func (c *Cluster) Set(index, id, routing string, version int64, source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.indices[index].docs[key(id, routing)] = &document{id: id, routing: routing, version: version, source: []byte(source)}
}
