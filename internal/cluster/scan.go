package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// ScanOptions say what Scan reads.
type ScanOptions struct {
	Index string // one concrete index

	// Slice of Slices is a part of the index; together they are all of it. With
	// zero or one slices all of it is read.
	Slice, Slices int

	// PageDocs is the number of documents asked for at a time. If zero, 1,000.
	PageDocs int
	// PageBytes bounds the answer that holds a page. A page that is larger ends
	// the scan with ErrTooLarge: ask for fewer documents at a time. If zero, 32
	// MiB, or as much as the gateway holds in memory for pages of one document.
	PageBytes int64

	Query  json.RawMessage // which documents; nil: all
	Source bool            // with their source, else with their version only

	// KeepAlive is how long the cluster waits for the next page to be asked for.
	// If zero, 2 minutes.
	KeepAlive time.Duration
}

var (
	// ErrNotJSON says that a page cannot be read: Elasticsearch takes documents
	// with comments and shows them as they came. Without source it can.
	ErrNotJSON = errors.New("the answer is not JSON")

	// ErrPartial says that not all shards of an index could be read.
	ErrPartial = errors.New("some shards could not be read")
)

// scanWait bounds the wait for one page.
const scanWait = 2 * time.Minute

// Scan reads an index by a scroll, page by page: its documents as searches saw
// them at the time read, when the scroll was opened. What was deleted or changed
// since is still shown as it was then, and what no refresh had made visible is
// missing: call Refresh before. After an error of page, or of the cluster, the
// scan is over; how far it got is not known.
func (c *Cluster) Scan(ctx context.Context, o ScanOptions, page func(read time.Time, docs []Doc) error) error {
	o.PageDocs = cmp.Or(o.PageDocs, 1000)
	o.KeepAlive = cmp.Or(o.KeepAlive, 2*time.Minute)
	if o.PageBytes == 0 {
		o.PageBytes = 32 << 20
		if o.PageDocs == 1 {
			o.PageBytes = maxAnswer
		}
	}
	keep := strconv.FormatInt(max(1, int64(o.KeepAlive/time.Second)), 10) + "s"
	read := time.Now()
	p, err := c.scanPage(ctx, Path(o.Index, "_search")+"?scroll="+keep, o.body(), o.PageBytes)
	for {
		if p.scroll != "" && (err != nil || len(p.docs) == 0) {
			c.clearScroll(ctx, p.scroll)
		}
		if err != nil || len(p.docs) == 0 {
			return err
		}
		for i := range p.docs {
			if c.names != nil {
				p.docs[i].Index = o.Index
			}
		}
		if err = page(read, p.docs); err != nil {
			continue
		}
		scroll := p.scroll
		body := append(appendString([]byte(`{"scroll":"`+keep+`","scroll_id":`), scroll), '}')
		p, err = c.scanPage(ctx, "/_search/scroll", body, o.PageBytes)
		p.scroll = cmp.Or(p.scroll, scroll)
	}
}

func (o *ScanOptions) body() []byte {
	b := fmt.Appendf(nil, `{"size":%d,"sort":["_doc"],"version":true,"_source":%t`, o.PageDocs, o.Source)
	if o.Slices > 1 {
		b = fmt.Appendf(b, `,"slice":{"id":%d,"max":%d}`, o.Slice, o.Slices)
	}
	if len(o.Query) > 0 {
		b = append(append(b, `,"query":`...), o.Query...)
	}
	return append(b, '}')
}

// A scanned page.
type scanned struct {
	scroll string
	docs   []Doc
}

func (c *Cluster) scanPage(ctx context.Context, target string, body []byte, limit int64) (p scanned, err error) {
	ctx, cancel := context.WithTimeout(ctx, scanWait)
	defer cancel()
	status, answer, err := c.do(ctx, http.MethodPost, target, body, limit)
	if err != nil {
		return p, err
	}
	if err := c.Failed(status, answer); err != nil {
		return p, err
	}
	p.scroll = gjson.GetBytes(answer, "_scroll_id").String()
	if !esapi.ValidJSON(answer) {
		return p, fmt.Errorf("%s: a page of a scan: %w", c.name, ErrNotJSON)
	}
	if err := c.complete(answer); err != nil {
		return p, err
	}
	hits := gjson.GetBytes(answer, "hits.hits")
	if !hits.IsArray() || p.scroll == "" {
		return p, fmt.Errorf("%s: a page of a scan: the answer has no hits", c.name)
	}
	hits.ForEach(func(_, h gjson.Result) bool {
		p.docs = append(p.docs, readHit(h))
		return true
	})
	return p, nil
}

// complete reports whether all shards have answered.
func (c *Cluster) complete(answer []byte) error {
	shards := gjson.GetBytes(answer, "_shards")
	if gjson.GetBytes(answer, "timed_out").Bool() {
		return fmt.Errorf("%s: %w: timed out", c.name, ErrPartial)
	}
	if shards.Get("failed").Int() == 0 {
		return nil
	}
	typ, text := reason(shards.Get("failures.0.reason"))
	return fmt.Errorf("%s: %w: %s failed: %s: %s", c.name, ErrPartial, shards.Get("failed"), typ, text)
}

func readHit(h gjson.Result) Doc {
	d := Doc{Found: true}
	h.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "_index":
			d.Index = v.String()
		case "_type":
			if t := v.String(); t != "_doc" {
				d.Type = t
			}
		case "_id":
			d.ID = v.String()
		case "_routing":
			d.Routing = v.String()
		case "_parent":
			d.Parent = v.String()
		case "_version":
			d.Version = v.Int()
		case "_source":
			d.Source = []byte(v.Raw)
		}
		return true
	})
	return d
}

// clearScroll frees what the cluster keeps for a scroll. If that fails, it does
// so by itself after KeepAlive.
func (c *Cluster) clearScroll(ctx context.Context, scroll string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	body := append(appendString([]byte(`{"scroll_id":[`), scroll), `]}`...)
	_, _, _ = c.Do(ctx, http.MethodDelete, "/_search/scroll", body)
}

// Refresh makes what was written to an index visible to searches.
func (c *Cluster) Refresh(ctx context.Context, index string) error {
	ctx, cancel := context.WithTimeout(ctx, scanWait)
	defer cancel()
	status, answer, err := c.Do(ctx, http.MethodPost, Path(index, "_refresh"), nil)
	if err != nil {
		return err
	}
	if err := c.Failed(status, answer); err != nil {
		return err
	}
	return c.complete(answer)
}

// A Size is how large an index is.
type Size struct {
	Docs   int64 // documents that searches see
	Bytes  int64 // on disk, compressed, without replicas
	Shards int   // primary ones
}

// Size tells how large an index is, nested documents not counted.
func (c *Cluster) Size(ctx context.Context, index string) (s Size, err error) {
	status, answer, err := c.Do(ctx, http.MethodGet, Path(index, "_stats", "store"), nil)
	if err == nil {
		err = c.Failed(status, answer)
	}
	if err != nil {
		return s, err
	}
	s.Bytes = gjson.GetBytes(answer, "_all.primaries.store.size_in_bytes").Int()
	s.Docs, s.Shards, err = c.count(ctx, index, nil)
	return s, err
}

// Count tells how many documents of an index a query finds; without one all.
func (c *Cluster) Count(ctx context.Context, index string, query json.RawMessage) (int64, error) {
	docs, _, err := c.count(ctx, index, query)
	return docs, err
}

func (c *Cluster) count(ctx context.Context, index string, query json.RawMessage) (docs int64, shards int, err error) {
	var body []byte
	if len(query) > 0 {
		body = slices.Concat([]byte(`{"query":`), query, []byte(`}`))
	}
	status, answer, err := c.Do(ctx, http.MethodPost, Path(index, "_count"), body)
	if err == nil {
		err = c.Failed(status, answer)
	}
	if err == nil {
		err = c.complete(answer)
	}
	return gjson.GetBytes(answer, "count").Int(), int(gjson.GetBytes(answer, "_shards.total").Int()), err
}

// PageDocs is a number of documents for one page of an index, so that pages
// are of some MiB.
func (s Size) PageDocs() int {
	const page, compressed = 4 << 20, 4 // bytes; how many times larger documents are than on disk, roughly
	if s.Docs == 0 {
		return 1000
	}
	each := max(1, s.Bytes/s.Docs) * compressed
	return int(min(max(page/each, 10), 1000))
}
