package emulate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A fake is a gateway with clusters that hold the same documents, each with
// sequence numbers of its own.
type fake struct {
	mu      sync.Mutex
	master  string
	docs    map[string]*fakeDoc
	scrolls map[string][]string // ids that are left
	sizes   map[string]int
	totals  map[string]int
	opened  int
	closed  int
	sent    []string // method and path
	bulks   []string
	// before may answer a request in place of the fake, or change it.
	before func(r *esapi.Request) (*esapi.Response, error)
}

type fakeDoc struct {
	version int64
	source  string
}

func newFake(n int) *fake {
	f := &fake{master: "a", docs: map[string]*fakeDoc{}, scrolls: map[string][]string{}, sizes: map[string]int{}, totals: map[string]int{}}
	for i := range n {
		f.docs[fmt.Sprintf("%03d", i)] = &fakeDoc{1, fmt.Sprintf(`{"n":%d}`, i)}
	}
	return f
}

// seqNo is the sequence number of a document on a cluster.
func (f *fake) seqNo(cluster, id string) int64 {
	n, _ := strconv.ParseInt(id, 10, 64)
	seq := n*10 + f.docs[id].version
	if cluster == "b" {
		seq += 100000
	}
	return seq
}

func (f *fake) Send(_ context.Context, r *esapi.Request, only string) (*esapi.Response, string, error) {
	f.mu.Lock()
	f.sent = append(f.sent, r.Method+" "+r.Path)
	before := f.before
	f.mu.Unlock()
	if before != nil {
		if a, err := before(r); a != nil || err != nil {
			return a, f.master, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if only != "" && only != f.master {
		return nil, f.master, ErrMoved
	}
	status, body := f.answer(r)
	return esapi.NewResponse(status, []byte(body)), f.master, nil
}

func (f *fake) answer(r *esapi.Request) (int, string) {
	switch {
	case strings.HasSuffix(r.Path, "/_search"):
		var ids []string
		max, slice := gjson.GetBytes(r.Body, "slice.max").Int(), gjson.GetBytes(r.Body, "slice.id").Int()
		for id := range f.docs {
			if n, _ := strconv.ParseInt(id, 10, 64); max == 0 || n%max == slice {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		f.opened++
		scroll := fmt.Sprintf("scroll%d", f.opened)
		f.scrolls[scroll], f.sizes[scroll], f.totals[scroll] = ids, atoi(r.Params.Get("size")), len(ids)
		return 200, f.page(scroll)
	case r.Path == "/_search/scroll" && r.Method == "DELETE":
		f.closed++
		return 200, `{"succeeded":true}`
	case r.Path == "/_search/scroll":
		return 200, f.page(gjson.GetBytes(r.Body, "scroll_id").String())
	case strings.HasSuffix(r.Path, "/_bulk"):
		f.bulks = append(f.bulks, string(r.Body))
		return 200, f.bulk(r.Body)
	case r.Path == "/_mget":
		var b strings.Builder
		for _, d := range gjson.GetBytes(r.Body, "docs").Array() {
			id := d.Get("_id").String()
			if f.docs[id] == nil {
				fmt.Fprintf(&b, `,{"_index":"i","_id":%q,"found":false}`, id)
				continue
			}
			fmt.Fprintf(&b, `,{"_index":"i","_id":%q,"found":true,"_version":%d,"_seq_no":%d,"_primary_term":1}`, id, f.docs[id].version, f.seqNo(f.master, id))
		}
		return 200, `{"docs":[` + strings.TrimPrefix(b.String(), ",") + `]}`
	case strings.HasSuffix(r.Path, "/_refresh"):
		return 200, `{}`
	case strings.HasSuffix(r.Path, "/_search_shards"):
		if strings.Contains(r.Path, "new") {
			return 404, `{"error":{"type":"index_not_found_exception"},"status":404}`
		}
		return 200, `{"shards":[[{"index":"i","shard":0}],[{"index":"i","shard":1}],[{"index":"i","shard":2}]]}`
	case r.Path == "/_tasks", r.Path == "/_tasks/_cancel":
		switch r.Params.Get("group_by") {
		case "parents":
			return 200, `{"tasks":{"n:1":{"id":1}}}`
		case "none":
			return 200, `{"tasks":[{"id":1}]}`
		}
		return 200, `{"nodes":{"n":{"tasks":{"n:1":{"id":1}}}}}`
	}
	return 501, `{"error":{"type":"not_faked","reason":"` + r.Path + `"},"status":501}`
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

func (f *fake) page(scroll string) string {
	n := min(f.sizes[scroll], len(f.scrolls[scroll]))
	var b strings.Builder
	for _, id := range f.scrolls[scroll][:n] {
		d := f.docs[id]
		fmt.Fprintf(&b, `,{"_index":"i","_type":"_doc","_id":%q,"_version":%d,"_seq_no":%d,"_primary_term":1,"_source":%s}`, id, d.version, f.seqNo(f.master, id), d.source)
	}
	f.scrolls[scroll] = f.scrolls[scroll][n:]
	return fmt.Sprintf(`{"_scroll_id":%q,"timed_out":false,"hits":{"total":{"value":%d,"relation":"eq"},"hits":[%s]}}`, scroll, f.totals[scroll], strings.TrimPrefix(b.String(), ","))
}

func (f *fake) bulk(body []byte) string {
	var items []string
	lines := bytes.Split(body, []byte("\n"))
	for i := 0; i < len(lines)-1; i++ {
		var op string
		var meta gjson.Result
		gjson.ParseBytes(lines[i]).ForEach(func(k, v gjson.Result) bool { op, meta = k.String(), v; return true })
		source := ""
		if op != "delete" {
			i++
			source = string(lines[i])
		}
		id := meta.Get("_id").String()
		d := f.docs[id]
		if s := meta.Get("if_seq_no"); s.Exists() && (d == nil || s.Int() != f.seqNo(f.master, id)) {
			items = append(items, fmt.Sprintf(`{%q:{"_index":"i","_type":"_doc","_id":%q,"status":409,"error":{"type":"version_conflict_engine_exception","reason":"changed"}}}`, op, id))
			continue
		}
		result, status := "updated", 200
		switch {
		case op == "delete":
			delete(f.docs, id)
			result = "deleted"
		case d == nil:
			f.docs[id] = &fakeDoc{1, source}
			result, status = "created", 201
		default:
			d.version, d.source = d.version+1, source
		}
		items = append(items, fmt.Sprintf(`{%q:{"_index":%q,"_type":"_doc","_id":%q,"result":%q,"status":%d}}`, op, meta.Get("_index").String(), id, result, status))
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

// rig is an Emulator on a fake.
type rig struct {
	t *testing.T
	*fake
	*Emulator
	dialect esapi.Version
}

func newRig(t *testing.T, n int) *rig {
	f := newFake(n)
	tasks := NewTasks()
	t.Cleanup(tasks.Close)
	return &rig{t, f, &Emulator{Gateway: f, Tasks: tasks, MaxPage: 1 << 20, Why: "it is a test"}, esapi.V(7, 10)}
}

// ask sends a client's request and returns status and body of the answer.
func (r *rig) do(method, target, body string) (int, gjson.Result) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	a, err := r.Emulator.Send(ctx, r.dialect, esapi.NewRequest(method, target, []byte(body)))
	if err != nil {
		e := esapi.AsError(err)
		return e.Status, gjson.ParseBytes(e.JSON())
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if !gjson.ValidBytes(b) {
		r.t.Errorf("%s %s: the answer is no JSON: %s", method, target, b)
	}
	return a.Status, gjson.ParseBytes(b)
}

// must is do for what has to succeed.
func (r *rig) must(method, target, body string) gjson.Result {
	r.t.Helper()
	status, answer := r.do(method, target, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", method, target, status, answer.Raw)
	}
	return answer
}
