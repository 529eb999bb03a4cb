package estest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Cluster is a fake Elasticsearch of one version. It implements esapi.Sender.
type Cluster struct {
	Version esapi.Version

	mu        sync.Mutex
	now       func() time.Time
	prompt    bool // see ForgetsAtOnce
	indices   map[string]*index
	named     map[string]map[string]json.RawMessage // "template", "pipeline" ... → name → definition
	state     int                                   // version of the cluster state
	uuids     int
	fault     func(*esapi.Request) Fault
	requests  int
	bulkItems int
	scrolls   map[string]*scroll
}

// A Fault is what goes wrong with one request. The zero Fault is that all goes
// well.
type Fault struct {
	Before error         // the request does not get to the cluster
	After  error         // it is carried out, but there is no answer
	Status int           // it is not carried out; this is the answer
	Delay  time.Duration // before it is carried out
	Late   time.Duration // between it and its answer
	Cut    bool          // the answer ends in the middle

	Change func(answer []byte) []byte // what becomes of the answer
}

// New makes an empty cluster.
func New(v esapi.Version) *Cluster {
	return &Cluster{Version: v, now: time.Now, indices: map[string]*index{}, named: map[string]map[string]json.RawMessage{}, scrolls: map[string]*scroll{}, state: 1}
}

// Faults has f decide what goes wrong with each request; nil: nothing.
func (c *Cluster) Faults(f func(*esapi.Request) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

// Down has the cluster answer nothing, or answer again.
func (c *Cluster) Down(down bool) {
	if !down {
		c.Faults(nil)
		return
	}
	c.Faults(func(*esapi.Request) Fault { return Fault{Before: esapi.ErrNotSent} })
}

// Clock sets the clock after which deletions are forgotten.
func (c *Cluster) Clock(now func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// ForgetsAtOnce has an index drop the deletions that it need not remember as soon as its settings
// say so, as a refresh does that comes just then; else each is dropped when it is met.
func (c *Cluster) ForgetsAtOnce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prompt = true
}

// Requests is the number of requests that have come so far.
func (c *Cluster) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

// BulkItems is the number of items of bulks that have come so far.
func (c *Cluster) BulkItems() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bulkItems
}

// Send implements esapi.Sender.
func (c *Cluster) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	var body []byte
	if reader := r.Reader(); reader != nil {
		var err error
		if body, err = io.ReadAll(reader); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	c.requests++
	var f Fault
	if c.fault != nil {
		decide := c.fault
		c.mu.Unlock()
		f = decide(r)
		c.mu.Lock()
	}
	c.mu.Unlock()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if f.Before != nil {
		return nil, f.Before
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.Status != 0 {
		e := failure{f.Status, "fault_exception", "a fault of the test"}
		return esapi.NewResponse(f.Status, e.body()), nil
	}
	c.mu.Lock()
	status, answer := c.serve(r, body)
	c.mu.Unlock()
	time.Sleep(f.Late)
	if f.After != nil {
		return nil, f.After
	}
	if f.Change != nil {
		answer = f.Change(answer)
	}
	res := esapi.NewResponse(status, answer)
	if f.Cut {
		res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(answer[:len(answer)/2]), broken{}))
	}
	return res, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A failure is an error answer.
type failure struct {
	status      int
	typ, reason string
}

func (f failure) object() map[string]any {
	return map[string]any{"type": f.typ, "reason": f.reason}
}

func (f failure) body() []byte {
	return encode(map[string]any{"error": f.object(), "status": f.status})
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

// serve answers one request. The caller holds the lock.
func (c *Cluster) serve(r *esapi.Request, body []byte) (int, []byte) {
	status, answer, fail := c.answer(r, body)
	if fail != nil {
		return fail.status, fail.body()
	}
	if raw, ok := answer.([]byte); ok {
		return status, raw
	}
	return status, encode(answer)
}

var acknowledged = map[string]any{"acknowledged": true}

func (c *Cluster) answer(r *esapi.Request, body []byte) (int, any, *failure) {
	e := esapi.ParseEndpoint(r.Method, r.Path, c.Version)
	switch e.API {
	case "info":
		return 200, map[string]any{"cluster_name": "fake", "version": map[string]any{"number": c.Version.String()}}, nil
	case "ping":
		return 200, []byte{}, nil
	case "cluster.health":
		return 200, map[string]any{"status": "green"}, nil
	case "cluster.state":
		return c.clusterState(e)
	case "index", "create", "update", "delete":
		return c.single(e, r, body)
	case "get":
		return c.get(e, r)
	case "bulk":
		return c.bulk(e, r, body)
	case "mget":
		return c.mget(e, r, body)
	case "search", "count":
		return c.search(e, r, body)
	case "scroll", "clear_scroll":
		return c.scroll(e, body)
	case "indices.refresh":
		if fail := c.there(e.Index, true); fail != nil {
			return 0, nil, fail
		}
		return 200, map[string]any{"_shards": map[string]any{"failed": 0}}, nil
	case "indices.stats":
		return c.stats(e)
	case "indices.create":
		return c.createIndex(e, r, body)
	case "indices.delete":
		return c.deleteIndex(e)
	case "indices.get", "indices.get_mapping", "indices.get_settings", "indices.get_alias":
		return c.show(e, r)
	case "indices.exists":
		if len(c.resolve(e.Index)) == 0 {
			return 404, []byte{}, nil
		}
		return 200, []byte{}, nil
	case "indices.put_mapping":
		return c.putMapping(e, r, body)
	case "indices.put_settings":
		return c.putSettings(e, body)
	case "indices.open", "indices.close":
		if fail := c.there(e.Index, false); fail != nil {
			return 0, nil, fail
		}
		for _, i := range c.resolve(e.Index) {
			i.closed = e.API == "indices.close"
		}
		c.state++
		return 200, acknowledged, nil
	case "indices.update_aliases":
		return c.updateAliases(body)
	case "indices.put_alias", "indices.delete_alias":
		return c.oneAlias(e, body)
	case "indices.rollover":
		return c.rollover(e)
	case "indices.shrink", "indices.split", "indices.clone":
		return c.resize(e, body)
	}
	if answer, status, ok := c.namedThing(e, body); ok {
		return status, answer, nil
	}
	return 0, nil, &failure{501, "not_faked_exception", "the fake does not know " + r.Method + " " + r.Path + " (" + e.API + ")"}
}

// namedThing keeps templates, pipelines and scripts as they come.
func (c *Cluster) namedThing(e esapi.Endpoint, body []byte) (answer any, status int, ok bool) {
	kinds := []struct{ kind, put, get, del string }{
		{"template", "indices.put_template", "indices.get_template", "indices.delete_template"},
		{"index_template", "indices.put_index_template", "indices.get_index_template", "indices.delete_index_template"},
		{"component_template", "cluster.put_component_template", "cluster.get_component_template", "cluster.delete_component_template"},
		{"pipeline", "ingest.put_pipeline", "ingest.get_pipeline", "ingest.delete_pipeline"},
		{"script", "put_script", "get_script", "delete_script"},
	}
	name := e.Name + e.ID
	for _, k := range kinds {
		all := c.named[k.kind]
		if all == nil {
			all = map[string]json.RawMessage{}
			c.named[k.kind] = all
		}
		def, exists := all[name]
		switch e.API {
		case k.put:
			all[name] = slices.Clone(body)
			c.state++
			return acknowledged, 200, true
		case k.del:
			if !exists {
				return failure{404, "resource_not_found_exception", name}.body(), 404, true
			}
			delete(all, name)
			c.state++
			return acknowledged, 200, true
		case k.get:
			if prefix, wild := strings.CutSuffix(name, "*"); wild || name == "" {
				some := maps.Clone(all)
				maps.DeleteFunc(some, func(name string, _ json.RawMessage) bool { return !strings.HasPrefix(name, prefix) })
				return listed(k.kind, some), 200, true
			}
			if !exists {
				return map[string]any{}, 404, true
			}
			switch k.kind {
			case "index_template", "component_template":
				return map[string]any{k.kind + "s": []any{map[string]any{"name": name, k.kind: def}}}, 200, true
			case "script":
				var s struct{ Script json.RawMessage }
				json.Unmarshal(def, &s)
				return map[string]any{"_id": name, "found": true, "script": s.Script}, 200, true
			}
			return map[string]any{name: def}, 200, true
		}
	}
	return nil, 0, false
}

// listed shows all things of a kind.
func listed(kind string, all map[string]json.RawMessage) any {
	if kind != "index_template" && kind != "component_template" {
		return all
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, map[string]any{"name": name, kind: all[name]})
	}
	return map[string]any{kind + "s": list}
}

// Named returns the definition of a template ("template"), pipeline, script ...
// or "".
func (c *Cluster) Named(kind, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.named[kind][name])
}

func (c *Cluster) clusterState(e esapi.Endpoint) (int, any, *failure) {
	answer := map[string]any{"cluster_name": "fake", "version": c.state, "state_uuid": "state" + strconv.Itoa(c.state)}
	if e.Metric == "metadata" {
		indices := map[string]any{}
		for _, i := range c.resolve(e.Index) {
			state := "open"
			if i.closed {
				state = "close"
			}
			settings := map[string]any{}
			for k, v := range i.settings {
				settings[k] = v
			}
			indices[i.name] = map[string]any{"state": state, "settings": map[string]any{"index": settings}}
		}
		metadata := map[string]any{"indices": indices}
		if scripts := c.named["script"]; len(scripts) > 0 {
			metadata["stored_scripts"] = scripts
		}
		answer["metadata"] = metadata
	}
	return 200, answer, nil
}

// resolve finds the indices of an expression, sorted.
func (c *Cluster) resolve(expression string) []*index {
	var found []*index
	for _, part := range strings.Split(expression, ",") {
		for _, i := range c.indices {
			_, alias := i.aliases[part]
			if (part == "" || part == "_all" || part == "*" || part == i.name || alias ||
				(strings.HasSuffix(part, "*") && strings.HasPrefix(i.name, strings.TrimSuffix(part, "*")))) && !slices.Contains(found, i) {
				found = append(found, i)
			}
		}
	}
	slices.SortFunc(found, func(a, b *index) int { return strings.Compare(a.name, b.name) })
	return found
}

// there is what a request for an index that is missing, or with open for one that is closed, is
// answered. Of several, and of patterns, it may be any.
func (c *Cluster) there(expression string, open bool) *failure {
	if expression == "" || expression == "_all" || strings.ContainsAny(expression, "*,") {
		return nil
	}
	found := c.resolve(expression)
	switch {
	case len(found) == 0:
		return &failure{404, "index_not_found_exception", "no such index [" + expression + "]"}
	case open && found[0].closed:
		return &failure{400, "index_closed_exception", "closed"}
	}
	return nil
}

// writable finds the index that a write to name goes to, and the routing that
// an alias brings. It is created if it does not exist.
func (c *Cluster) writable(name, typ string) (*index, string, *failure) {
	if i := c.indices[name]; i != nil {
		if i.closed {
			return nil, "", &failure{400, "index_closed_exception", "closed"}
		}
		return i, "", nil
	}
	var target *index
	for _, i := range c.resolve(name) {
		if target == nil || i.aliases[name].WriteIndex {
			target = i
		}
	}
	if target != nil {
		return target, target.aliases[name].IndexRouting, nil
	}
	if strings.ToLower(name) != name || strings.HasPrefix(name, "_") || name == "" {
		return nil, "", &failure{400, "invalid_index_name_exception", "Invalid index name [" + name + "], must be lowercase"}
	}
	return c.newIndex(name, typ), "", nil
}

func (c *Cluster) newIndex(name, typ string) *index {
	c.uuids++
	c.state++
	i := &index{name: name, uuid: fmt.Sprintf("uuid%d", c.uuids), docs: map[string]*document{}, aliases: map[string]alias{},
		fields: map[string]string{}, settings: map[string]json.RawMessage{}, gc: time.Minute, created: c.now()}
	if c.Version.Major < 7 {
		i.typ = typ
	}
	c.indices[name] = i
	return i
}

// statusOf is a plain number for answers.
func statusOf(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}
