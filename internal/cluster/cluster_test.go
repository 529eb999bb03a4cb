package cluster_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// sender answers by a function.
type sender func(r *esapi.Request) (int, string, error)

func (f sender) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	status, body, err := f(r)
	if err != nil {
		return nil, err
	}
	return esapi.NewResponse(status, []byte(body)), nil
}

func TestVersion(t *testing.T) {
	nodes := `{"nodes":{"a":{"version":"7.17.28"},"b":{"version":"7.10.2"}}}`
	for name, c := range map[string]struct {
		root   string
		status int
		want   string // version, or a part of the error
	}{
		"8":               {`{"version":{"number":"8.7.1"}}`, 200, "8.7.1"},
		"snapshot":        {`{"version":{"number":"5.6.16-SNAPSHOT"}}`, 200, "5.6.16"},
		"too old":         {`{"version":{"number":"2.4.6"}}`, 200, "Elasticsearch 2.4.6 is not supported"},
		"too new":         {`{"version":{"number":"9.0.0"}}`, 200, "Elasticsearch 9.0.0 is not supported"},
		"another product": {`{"version":{"number":"7.10.2","distribution":"opensearch"}}`, 200, "opensearch 7.10.2, which is not supported"},
		"no root":         {`{"error":"no handler"}`, 400, "7.10.2"},
		"no version":      {`{}`, 200, "7.10.2"},
		"no credentials":  {`{}`, 401, "check the credentials"},
		"starting":        {`{"error":{"type":"x","reason":"not yet"}}`, 503, "not yet"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
				if r.Path == "/" {
					return c.status, c.root, nil
				}
				return 200, nodes, nil
			}), cluster.Options{})
			defer cl.Close()
			v, err := cl.Version(t.Context())
			got := v.String()
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) || (err != nil) != !strings.HasPrefix(c.want, v.String()) {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestVersionIsFoundAgain(t *testing.T) {
	var number atomic.Value
	number.Store("")
	cl := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
		if n := number.Load().(string); n != "" {
			return 200, `{"version":{"number":"` + n + `"}}`, nil
		}
		return 0, "", errors.New("connection refused")
	}), cluster.Options{})
	defer cl.Close()
	ctx := t.Context()
	if _, err := cl.Version(ctx); err == nil {
		t.Fatal("a version out of nothing")
	}
	number.Store("7.17.28")
	eventually(t, func() bool { v, _ := cl.Version(ctx); return v.String() == "7.17.28" })
	number.Store("")
	cl.Do(ctx, "GET", "/", nil)
	if v, _ := cl.Version(ctx); v.String() != "7.17.28" {
		t.Error("the version is forgotten with the connection")
	}
	number.Store("8.7.1")
	eventually(t, func() bool { v, _ := cl.Version(ctx); return v.String() == "8.7.1" })
}

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func fake(t *testing.T, v esapi.Version) (*estest.Cluster, *cluster.Cluster) {
	f := estest.New(v)
	c := cluster.New("c", f, cluster.Options{})
	t.Cleanup(c.Close)
	return f, c
}

func do(t *testing.T, c *cluster.Cluster, method, target, body string) {
	t.Helper()
	status, answer, err := c.Do(t.Context(), method, target, []byte(body))
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, target, status, answer, err)
	}
}

func TestFacts(t *testing.T) {
	f, c := fake(t, esapi.V(6, 8))
	ctx := t.Context()
	if _, ok, err := c.Facts().Index(ctx, "books"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	do(t, c, "PUT", "/books-1", `{"mappings":{"book":{"properties":{"when":{"type":"date"}}}},"aliases":{"books":{"index_routing":"r"}},"settings":{"index.default_pipeline":"p"}}`)
	c.Facts().Forget("books")
	i, ok, err := c.Facts().Lookup(ctx, "books")
	if err != nil || !ok || i.Name != "books-1" || i.Type != "book" || i.Fields["when"].Type != "date" || !i.Pipeline || i.Aliases["books"].IndexRouting != "r" {
		t.Errorf("%+v %v %v", i, ok, err)
	}
	n := f.Requests()
	c.Facts().Index(ctx, "books")
	if f.Requests() != n {
		t.Error("asked again")
	}
	c.Facts().Forget("books-1") // the alias is known by its index
	c.Facts().Index(ctx, "books")
	if f.Requests() == n {
		t.Error("not asked again")
	}
	do(t, c, "PUT", "/books-2", ``)
	for expression, want := range map[string]int{"books-*": 2, "": 2, "_all": 2, "books": 1, "nothing": 0, "books-1,books-2": 2} {
		if names, err := c.Facts().Expand(ctx, expression); err != nil || len(names) != want {
			t.Errorf("%q is %v, %v", expression, names, err)
		}
	}
	f.Down(true)
	if _, _, err := c.Facts().Index(ctx, "other"); err == nil {
		t.Error("a cluster that is down tells facts")
	}
}

func TestLearn(t *testing.T) {
	_, c := fake(t, esapi.V(8, 7))
	ctx := t.Context()
	do(t, c, "PUT", "/books", `{"mappings":{"_meta":{"own":{"a":1}}}}`)
	if err := c.Facts().Learn(ctx, "books", "book"); err != nil {
		t.Fatal(err)
	}
	if _, m, _ := c.Do(ctx, "GET", "/books/_mapping", nil); !strings.Contains(string(m), `"esperanto":{"type":"book"}`) || !strings.Contains(string(m), `"own":{"a":1}`) {
		t.Errorf("%s", m)
	}
	for range 2 {
		if i, _, _ := c.Facts().Index(ctx, "books"); i.Type != "book" {
			t.Errorf("type %q", i.Type)
		}
		c.Facts().ForgetAll()
		if err := c.Facts().Learn(ctx, "books", "other"); err != nil { // the first one stays
			t.Error(err)
		}
	}
	c.Facts().Forget("books")
	if i, _, _ := c.Facts().Index(ctx, "books"); i.Type != "book" {
		t.Errorf("type %q", i.Type)
	}
	// Of an index that is not there nothing is remembered.
	if err := c.Facts().Learn(ctx, "missing", "book"); err != nil {
		t.Error(err)
	}
	if i, _, _ := c.Facts().Index(ctx, "missing"); i.Type != "" {
		t.Errorf("type %q", i.Type)
	}
}

// Of an alias it is the index that is written to.
func TestLearnByAlias(t *testing.T) {
	_, c := fake(t, esapi.V(8, 7))
	do(t, c, "PUT", "/books-1", `{"aliases":{"books":{}}}`)
	do(t, c, "PUT", "/books-2", `{"aliases":{"books":{"is_write_index":true}}}`)
	if err := c.Facts().Learn(t.Context(), "books", "book"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"books-1": "", "books-2": "book", "books": "book"} {
		if i, _, err := c.Facts().Index(t.Context(), name); err != nil || i.Type != want {
			t.Errorf("%s has the type %q: %v", name, i.Type, err)
		}
	}
}

// A type that cannot be written yet is known in memory, is written later, and whoever asks
// until then is told that it is not.
func TestLearnLater(t *testing.T) {
	t.Parallel()
	f, c := fake(t, esapi.V(8, 7))
	ctx := t.Context()
	do(t, c, "PUT", "/books", ``)
	f.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" {
			return estest.Fault{Status: 503}
		}
		return estest.Fault{}
	})
	for range 2 {
		if err := c.Facts().Learn(ctx, "books", "book"); err == nil {
			t.Error("no error")
		}
	}
	if i, _, _ := c.Facts().Index(ctx, "books"); i.Type != "book" {
		t.Errorf("type %q", i.Type)
	}
	f.Faults(nil)
	eventually(t, func() bool {
		_, m, _ := c.Do(ctx, "GET", "/books/_mapping", nil)
		return strings.Contains(string(m), `"esperanto":{"type":"book"}`)
	})
	if err := c.Facts().Learn(ctx, "books", "book"); err != nil {
		t.Error(err)
	}
}

// Who asks while the type is being written waits until it is.
func TestLearnTogether(t *testing.T) {
	f, c := fake(t, esapi.V(8, 7))
	do(t, c, "PUT", "/books", ``)
	var puts atomic.Int64
	f.Faults(func(r *esapi.Request) estest.Fault {
		if r.Method == "PUT" {
			puts.Add(1)
			return estest.Fault{Delay: 50 * time.Millisecond}
		}
		return estest.Fault{}
	})
	var working sync.WaitGroup
	for range 10 {
		working.Go(func() {
			if err := c.Facts().Learn(t.Context(), "books", "book"); err != nil {
				t.Error(err)
			}
			if _, m, _ := c.Do(t.Context(), "GET", "/books/_mapping", nil); !strings.Contains(string(m), `"type":"book"`) {
				t.Errorf("%s", m)
			}
		})
	}
	working.Wait()
	if puts.Load() != 1 {
		t.Errorf("written %d times", puts.Load())
	}
}

func TestExternalWritesAndReadBack(t *testing.T) {
	for _, v := range []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 7)} {
		_, c := fake(t, v)
		ctx := t.Context()
		id := func(s string) cluster.DocID { return cluster.DocID{Index: "books", ID: s} }
		docs := []cluster.Doc{
			{DocID: id("1"), Found: true, Version: 7, Source: []byte("{ \"n\": 1.0,\n\"big\":12345678901234567890 }")},
			{DocID: cluster.DocID{Index: "books", ID: "2", Routing: "r"}, Found: true, Version: 1, Source: []byte(`{}`)},
			{DocID: id("3"), Version: 4},
			{DocID: id("1"), Found: true, Version: 7, Source: []byte(`{}`)},
			{DocID: id("1"), Found: true, Version: 7, Source: []byte(`{"n":2}`), Again: true},
			{DocID: cluster.DocID{Index: "books", ID: "4", Routing: "r"}, Found: true, Version: 9, Source: []byte("{\r\n\t\"n\": 1.0\n}")},
			{DocID: cluster.DocID{Index: "books", ID: "4", Routing: "r"}, Found: true, Version: 8, Source: []byte("{\n}")},
		}
		results, err := c.WriteExternal(ctx, docs)
		if err != nil {
			t.Fatal(err)
		}
		want := []int{201, 201, 404, 409, 200, 201, 409}
		for i, r := range results {
			if r.Status != want[i] || r.OK() == (want[i] == 409) {
				t.Errorf("%s: document %d: %+v", v, i, r)
			}
		}
		read, err := c.MGet(ctx, []cluster.DocID{id("1"), {Index: "books", ID: "2", Routing: "r"}, id("3"), {Index: "nothing", ID: "1"}, {Index: "books", ID: "4", Routing: "r"}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if !read[0].Found || read[0].Version != 7 || string(read[0].Source) != `{"n":2}` || !read[1].Found || read[2].Found || read[3].Found {
			t.Errorf("%s: %+v", v, read)
		}
		if got := string(read[4].Source); got != "{\r\n\t\"n\": 1.0\n}" || read[4].Version != 9 || read[4].Routing != "r" {
			t.Errorf("%s: a source of several lines became %+v %q", v, read[4], got)
		}
	}
}
