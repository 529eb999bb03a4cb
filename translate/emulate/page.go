package emulate

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A page is one answer of the search.
type page struct {
	cluster  string // that gave it
	scrollID string
	total    int64
	timedOut bool
	failures []string // of shards, as the answer to the job tells them
	hits     []hit
}

// A hit is a document that was found. Its values are raw JSON unless said
// otherwise.
type hit struct {
	index, typ, id, routing, parent string // not JSON
	version, seqNo, primaryTerm     string
	source                          string
}

// first begins the search.
func (w *worker) first(ctx context.Context) (*page, error) {
	s := &w.job.search
	params := s.params.Clone()
	params.Set("scroll", s.keep)
	params.Set("size", strconv.Itoa(s.batch))
	r := w.job.request(http.MethodPost, searchPath(s.indices, s.types), params, w.searchBody())
	p, err := w.page(ctx, r)
	if a, ok := err.(*answerError); ok && s.wrapped != nil {
		return nil, a.inside(s.wrapped)
	}
	return p, err
}

func searchPath(indices, types string) string {
	path := ""
	for _, part := range []string{indices, types} {
		if part != "" {
			path += "/" + url.PathEscape(part)
		}
	}
	return path + "/_search"
}

// searchBody puts what the job needs into the client's search.
func (w *worker) searchBody() []byte {
	s := &w.job.search
	flags := s.flags
	switch {
	case w.of > 1:
		flags += `,"slice":{"id":` + strconv.Itoa(w.slice) + `,"max":` + strconv.Itoa(w.of) + "}"
	case s.slice != "":
		flags += `,"slice":` + s.slice
	}
	end := bytes.LastIndexByte(s.body, '}')
	if end < 0 || !esapi.ValidJSON(s.body) {
		return s.body // the cluster says what is wrong
	}
	comma := ","
	if len(bytes.TrimSpace(s.body[1:end])) == 0 {
		comma = ""
	}
	return []byte(string(s.body[:end]) + comma + flags + "}")
}

// next goes on with the search. The scroll has to live on while the job waits.
func (w *worker) next(ctx context.Context, wait time.Duration) (*page, error) {
	keep := w.job.search.keep
	if wait > 0 {
		keep = strconv.FormatInt((long(keep)+wait).Milliseconds(), 10) + "ms"
	}
	body := []byte(`{"scroll":` + quote(keep) + `,"scroll_id":` + quote(w.scrollID) + `}`)
	return w.page(ctx, w.job.request(http.MethodPost, "/_search/scroll", esapi.Params{}, body))
}

// clear ends the search.
func (w *worker) clear(ctx context.Context) {
	if w.scrollID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	body := []byte(`{"scroll_id":[` + quote(w.scrollID) + `]}`)
	// If it fails the scroll ends by itself.
	_, _, _ = w.ask(ctx, w.job.request(http.MethodDelete, "/_search/scroll", esapi.Params{}, body), "", w.MaxPage)
}

// page sends a search, again while the cluster is overloaded.
func (w *worker) page(ctx context.Context, r *esapi.Request) (*page, error) {
	for retry := 0; ; retry++ {
		body, from, err := w.ask(ctx, r, "", w.MaxPage)
		if err == nil {
			p := readPage(body, from)
			if p.scrollID != "" {
				w.scrollID = p.scrollID
			}
			return p, nil
		}
		if !isBusy(err) || retry == maxRetries {
			// A page that is too large begins with the id of a scroll all the same.
			if id := gjson.GetBytes(body, "_scroll_id").String(); id != "" {
				w.scrollID = id
			}
			return nil, err
		}
		w.progress.change(w.slice, func(c *counts) { c.searchRetries++ })
		if err := w.sleep(ctx, backoff(retry)); err != nil {
			return nil, err
		}
	}
}

func readPage(body []byte, from string) *page {
	o := gjson.ParseBytes(body)
	p := &page{cluster: from, scrollID: o.Get("_scroll_id").String(), timedOut: o.Get("timed_out").Bool()}
	total := o.Get("hits.total")
	if total.IsObject() {
		total = total.Get("value")
	}
	p.total = total.Int()
	for _, f := range o.Get("_shards.failures").Array() {
		p.failures = append(p.failures, f.Raw)
	}
	o.Get("hits.hits").ForEach(func(_, h gjson.Result) bool {
		var d hit
		h.ForEach(func(k, v gjson.Result) bool {
			switch k.String() {
			case "_index":
				d.index = v.String()
			case "_type":
				d.typ = v.String()
			case "_id":
				d.id = v.String()
			case "_routing":
				d.routing = v.String()
			case "_parent":
				d.parent = v.String()
			case "_version":
				d.version = v.Raw
			case "_seq_no":
				d.seqNo = v.Raw
			case "_primary_term":
				d.primaryTerm = v.Raw
			case "_source":
				d.source = v.Raw
			}
			return true
		})
		p.hits = append(p.hits, d)
		return true
	})
	return p
}

// line is the document on one line.
func (h *hit) line() []byte {
	if !strings.ContainsAny(h.source, "\r\n") {
		return []byte(h.source)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(h.source)); err != nil {
		return []byte(strings.NewReplacer("\n", " ", "\r", " ").Replace(h.source))
	}
	return b.Bytes()
}

// inside puts an error about the source of a reindex into the one that tells so.
func (a *answerError) inside(around *esapi.Error) error {
	inner := gjson.GetBytes(a.body, "error")
	if a.status != http.StatusBadRequest || !strings.HasSuffix(inner.Get("type").String(), "parsing_exception") && inner.Get("type").String() != "x_content_parse_exception" {
		return a
	}
	cause := bodyOf([]byte(inner.Raw))
	root := cause.take("root_cause").Raw
	if root == "" {
		root = "[]"
	}
	outer := bodyOf(around.ObjectJSON())
	members := bytes.TrimSuffix(bytes.TrimPrefix(outer.rest(), []byte("{")), []byte("}"))
	return &answerError{a.status, []byte(`{"error":{"root_cause":` + root + `,` + string(members) + `,"caused_by":` + string(cause.rest()) + `},"status":400}`)}
}
