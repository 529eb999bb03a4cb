package cluster_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// copies are the names of indices that have the prefix "copy-" at the cluster.
type copies struct{}

func (copies) There(name string) string         { return "copy-" + name }
func (copies) Here(there string) (string, bool) { return strings.CutPrefix(there, "copy-") }

func TestRenamed(t *testing.T) {
	for _, v := range []esapi.Version{esapi.V(5, 6), esapi.V(6, 8), esapi.V(7, 17), esapi.V(8, 7)} {
		t.Run(v.String(), func(t *testing.T) { testRenamed(t, v) })
	}
}

func testRenamed(t *testing.T, v esapi.Version) {
	f, real := fake(t, v)
	c := real.Renamed(copies{})
	t.Cleanup(c.Close)
	ctx := t.Context()
	do(t, real, "PUT", "/theirs", ``)
	do(t, c, "PUT", "/books", `{"settings":{"index.max_result_window":20000}}`)
	do(t, c, "PUT", "/films", ``)
	do(t, c, "POST", "/_aliases", `{"actions":[{"add":{"index":"books","alias":"all","routing":"r"}},{"add":{"index":"films","alias":"all"}}]}`)
	if got := f.Indices(); !slices.Equal(got, []string{"copy-books", "copy-films", "theirs"}) {
		t.Errorf("indices %v", got)
	}
	if got := f.Aliases("copy-books"); len(got) != 1 {
		t.Errorf("aliases %v", got)
	}

	docs := []cluster.Doc{
		{DocID: cluster.DocID{Index: "books", ID: "1", Routing: "r"}, Found: true, Version: 7, Source: []byte(`{"_index":"copy-x"}`)},
		{DocID: cluster.DocID{Index: "books", ID: "2"}, Found: true, Version: 8, Source: []byte("{\n}")},
		{DocID: cluster.DocID{Index: "films", ID: "1"}, Found: true, Version: 9, Source: []byte(`{}`)},
	}
	results, err := c.WriteExternal(ctx, docs)
	if err != nil || !results[0].OK() || !results[1].OK() || !results[2].OK() {
		t.Fatal(results, err)
	}
	for _, d := range f.Docs() {
		if !strings.HasPrefix(d.Index, "copy-") {
			t.Errorf("%+v", d)
		}
	}
	read, err := c.MGet(ctx, []cluster.DocID{docs[0].DocID, docs[1].DocID, docs[2].DocID}, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range read {
		if !d.Found || d.Index != docs[i].Index || d.Version != docs[i].Version || (i == 0 && string(d.Source) != string(docs[0].Source)) {
			t.Errorf("%+v", d)
		}
	}
	if err := c.Refresh(ctx, "books"); err != nil {
		t.Error(err)
	}
	n := 0
	err = c.Scan(ctx, cluster.ScanOptions{Index: "books", Source: true}, func(_ time.Time, page []cluster.Doc) error {
		for _, d := range page {
			n++
			if d.Index != "books" {
				t.Errorf("%+v", d)
			}
		}
		return nil
	})
	if err != nil || n != 2 {
		t.Error(n, err)
	}
	if size, err := c.Size(ctx, "books"); err != nil || size.Docs != 2 {
		t.Error(size, err)
	}

	for expression, want := range map[string]string{
		"": "books films", "_all": "books films", "b*": "books", "all": "books films", "books": "books", "copy-books": "", "theirs": "", "*,-books": "films", "none": "",
	} {
		if got, err := c.Facts().Expand(ctx, expression); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q is %v, %v", expression, got, err)
		}
	}
	if i, ok, err := c.Facts().Lookup(ctx, "books"); err != nil || !ok || i.Name != "books" {
		t.Error(i, ok, err)
	}
	if _, ok, err := c.Facts().Lookup(ctx, "theirs"); err != nil || ok {
		t.Error("an index is seen that has no name here", err)
	}
	for target, path := range map[string]string{
		"/books/_settings":                          "books.settings.index.uuid",
		"/books,films/_alias":                       "films.aliases.all",
		"/books":                                    "books.mappings",
		"/_all/_settings":                           "books.settings.index.uuid",
		"/_cluster/state/metadata/books":            "metadata.indices.books.state",
		"/_cluster/state/metadata?filter_path=made": "metadata.indices.films.state",
	} {
		status, answer, err := c.Do(ctx, "GET", target, nil)
		if err != nil || status != 200 || !gjson.GetBytes(answer, path).Exists() || gjson.GetBytes(answer, strings.Replace(path, "books", "copy-books", 1)).Exists() && strings.Contains(path, "books") {
			t.Errorf("%s: %d %s %v", target, status, answer, err)
		}
	}
	for target, body := range map[string]string{"/_all/_settings": "", "/b*/_close": "", "/books/_shrink/x": "", "/books/_no_such_api/at/all/x": "", "/_aliases": `{"actions":[{"remove":{"index":"*","alias":"all"}}]}`} {
		before := f.Requests()
		if _, _, err := c.Do(context.Background(), "POST", target, []byte(body)); err == nil {
			t.Errorf("%s is sent", target)
		}
		if f.Requests() > before {
			t.Errorf("%s was sent", target)
		}
	}
	do(t, c, "DELETE", "/books", ``)
	if got := f.Indices(); !slices.Equal(got, []string{"copy-films", "theirs"}) {
		t.Errorf("indices %v", got)
	}
}

func TestMatchIndex(t *testing.T) {
	for _, c := range []struct {
		pattern, names, others string
	}{
		{"books", "books", "book bookss"},
		{"*", "books .kibana", ""},
		{"logs-*", "logs- logs-1", "logs log-1 xlogs-1"},
		{"*-x", "-x a-x", "a-xy"},
		{"a*b*c", "abc axbxc abbcc", "ab acb"},
		{"a*a", "aa aba", "a"},
		{"a**b", "ab axb", "a"},
	} {
		for _, name := range strings.Fields(c.names) {
			if !cluster.MatchIndex(c.pattern, name) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.others) {
			if cluster.MatchIndex(c.pattern, name) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
}
