package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

func filled(t *testing.T, v esapi.Version, n int) (*estest.Cluster, *cluster.Cluster) {
	fake := estest.New(v)
	c := cluster.New("c", fake, cluster.Options{})
	t.Cleanup(c.Close)
	var docs []cluster.Doc
	for i := range n {
		id := cluster.DocID{Index: "books", Type: "book", ID: fmt.Sprintf("%03d", i)}
		if i%10 == 0 {
			id.Routing = "r"
		}
		docs = append(docs, cluster.Doc{DocID: id, Found: true, Version: int64(i + 1), Source: fmt.Appendf(nil, `{"n":%d}`, i%3)})
	}
	if _, err := c.WriteExternal(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	return fake, c
}

func scanned(t *testing.T, c *cluster.Cluster, o cluster.ScanOptions) (ids []string, docs map[string]cluster.Doc, pages int) {
	t.Helper()
	docs = map[string]cluster.Doc{}
	began := time.Now()
	err := c.Scan(t.Context(), o, func(read time.Time, page []cluster.Doc) error {
		if read.Before(began) || time.Since(read) > time.Minute {
			t.Errorf("read at %s", read)
		}
		pages++
		for _, d := range page {
			ids, docs[d.ID] = append(ids, d.ID), d
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids, docs, pages
}

func TestScan(t *testing.T) {
	for _, v := range []esapi.Version{{Major: 5, Minor: 6, Patch: 16}, {Major: 8, Minor: 7, Patch: 1}} {
		fake, c := filled(t, v, 100)
		ids, docs, pages := scanned(t, c, cluster.ScanOptions{Index: "books", PageDocs: 30, Source: true})
		if len(ids) != 100 || len(docs) != 100 || pages != 4 {
			t.Fatalf("%s: %d documents, %d different ones, %d pages", v, len(ids), len(docs), pages)
		}
		if d := docs["010"]; d.Routing != "r" || d.Version != 11 || string(d.Source) != `{"n":1}` || d.Index != "books" || !d.Found || (d.Type == "book") != (v.Major < 7) {
			t.Errorf("%s: %+v", v, d)
		}
		_, docs, _ = scanned(t, c, cluster.ScanOptions{Index: "books"})
		if d := docs["010"]; d.Version != 11 || d.Source != nil {
			t.Errorf("without source: %+v", d)
		}
		_, docs, _ = scanned(t, c, cluster.ScanOptions{Index: "books", Query: []byte(`{"term":{"n":2}}`)})
		if len(docs) != 33 {
			t.Errorf("a query finds %d", len(docs))
		}
		var all []string
		for slice := range 3 {
			ids, _, _ := scanned(t, c, cluster.ScanOptions{Index: "books", Slice: slice, Slices: 3})
			all = append(all, ids...)
		}
		slices.Sort(all)
		if len(slices.Compact(all)) != 100 {
			t.Errorf("slices have %d documents", len(all))
		}
		if n := fake.Scrolls(); n != 0 {
			t.Errorf("%d scrolls are left open", n)
		}
	}
}

// A scan shows what was there when it began.
func TestScanShowsASnapshot(t *testing.T) {
	fake, c := filled(t, esapi.Version{Major: 8, Minor: 7, Patch: 1}, 20)
	seen := map[string]bool{}
	err := c.Scan(t.Context(), cluster.ScanOptions{Index: "books", PageDocs: 5}, func(_ time.Time, docs []cluster.Doc) error {
		if len(seen) == 0 {
			if _, err := c.WriteExternal(t.Context(), []cluster.Doc{{DocID: cluster.DocID{Index: "books", ID: "019"}, Version: 100}}); err != nil {
				return err
			}
		}
		for _, d := range docs {
			seen[d.ID] = true
		}
		return nil
	})
	if err != nil || !seen["019"] || fake.Scrolls() != 0 {
		t.Errorf("%v, %v", seen, err)
	}
}

func TestScanEndsOnErrors(t *testing.T) {
	fake, c := filled(t, esapi.Version{Major: 8, Minor: 7, Patch: 1}, 20)
	stop := errors.New("stop")
	count := func(err error) func(time.Time, []cluster.Doc) error {
		return func(time.Time, []cluster.Doc) error { return err }
	}
	o := cluster.ScanOptions{Index: "books", PageDocs: 5}
	if err := c.Scan(t.Context(), o, count(stop)); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	fake.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "POST" && r.Path == "/_search/scroll" {
			return estest.Fault{Status: 429}
		}
		return estest.Fault{}
	})
	busy := new(cluster.StatusError)
	if err := c.Scan(t.Context(), o, count(nil)); !errors.As(err, &busy) || busy.Status != 429 {
		t.Errorf("%v", err)
	}
	fake.Faults(nil)
	small := o
	small.PageBytes = 100
	if err := c.Scan(t.Context(), small, count(nil)); !errors.Is(err, cluster.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Scan(ctx, o, func(time.Time, []cluster.Doc) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	o.Index = "missing"
	missing := new(cluster.StatusError)
	if err := c.Scan(t.Context(), o, count(nil)); !errors.As(err, &missing) || missing.Type != "index_not_found_exception" {
		t.Errorf("%v", err)
	}
}

// What a cluster answers when it could not read everything is no page.
func TestScanOfBrokenAnswers(t *testing.T) {
	for answer, want := range map[string]error{
		`{"_scroll_id":"x","_shards":{"failed":1,"failures":[{"reason":{"type":"t","reason":"lost"}}]},"hits":{"hits":[]}}`: cluster.ErrPartial,
		`{"_scroll_id":"x","timed_out":true,"hits":{"hits":[]}}`:                                                            cluster.ErrPartial,
		`{"_scroll_id":"x","hits":{"hits":[{"_id":"1","_source":{/* c */}}]}}`:                                              cluster.ErrNotJSON,
	} {
		cleared := 0
		c := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
			if r.Method == "DELETE" {
				cleared++
			}
			return 200, answer, nil
		}), cluster.Options{Version: esapi.Version{Major: 8, Minor: 7}})
		defer c.Close()
		err := c.Scan(t.Context(), cluster.ScanOptions{Index: "i"}, func(time.Time, []cluster.Doc) error {
			t.Error("a page")
			return nil
		})
		if !errors.Is(err, want) || cleared != 1 {
			t.Errorf("%s: %v; cleared %d times", answer, err, cleared)
		}
	}
	c := cluster.New("c", sender(func(*esapi.Request) (int, string, error) { return 200, `{}`, nil }), cluster.Options{})
	defer c.Close()
	if err := c.Scan(t.Context(), cluster.ScanOptions{Index: "i"}, nil); err == nil || !strings.Contains(err.Error(), "no hits") {
		t.Errorf("%v", err)
	}
}

func TestSize(t *testing.T) {
	_, c := filled(t, esapi.Version{Major: 8, Minor: 7, Patch: 1}, 20)
	s, err := c.Size(t.Context(), "books")
	if err != nil || s.Docs != 20 || s.Bytes != 20*7 || s.Shards != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for s, want := range map[cluster.Size]int{{}: 1000, {Docs: 10, Bytes: 1000}: 1000, {Docs: 10, Bytes: 100 << 20}: 10, {Docs: 1000, Bytes: 10 << 20}: 100} {
		if got := s.PageDocs(); got != want {
			t.Errorf("%+v: %d", s, got)
		}
	}
}
