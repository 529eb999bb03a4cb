package replicate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// That the former master has the last word on a document is forgotten with the row for which that
// was kept, and not with that of another attempt at a failover.
func TestWordsGoWithTheirRows(t *testing.T) {
	t.Parallel()
	g := newFailing(t, func(c *Config) { c.Failover, c.Grace = 0, time.Hour })
	for _, id := range []string{"1", "2"} {
		g.must("PUT", "/books/_doc/"+id, `{"n":1}`)
	}
	g.equal()
	s, p := g.r.asides, g.r.applier.pairs["a"]
	doubt := func(id string) {
		t.Helper()
		doc := cluster.Doc{DocID: cluster.DocID{Index: "books", ID: id}, Found: true, Version: 1, Source: []byte(`{"n":1}`)}
		if _, err := p.alone(t.Context(), []change{{Doc: doc, read: true}}, false); err != nil {
			t.Fatal(err)
		}
	}
	words := func() (n int) {
		t.Helper()
		if err := s.table.Scan(t.Context(), func(key string, _ []byte) bool {
			if strings.HasPrefix(key, wordPrefix) {
				n++
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	doubt("1")
	doubt("2")
	before, err := s.list(t.Context(), 0, func(*asideRow) bool { return true })
	if err != nil || len(before) != 2 || words() != 2 {
		t.Fatalf("%v %v, %d words", before, err, words())
	}
	for _, state := range []string{"paused", "running"} { // another state, and the next attempt
		if err := g.r.Apply(t.Context(), state); err != nil {
			t.Fatal(err)
		}
	}
	doubt("1")
	if err := s.readBack(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if n := words(); n != 1 {
		t.Errorf("%d words are left", n)
	}
	has := func() string {
		t.Helper()
		if err := s.loadWords(t.Context()); err != nil {
			t.Fatal(err)
		}
		var list []bool
		for _, id := range []string{"1", "2"} {
			word, err := s.hasWord(t.Context(), "books", "", id)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, word)
		}
		return fmt.Sprint(list)
	}
	if got := has(); got != "[true false]" {
		t.Errorf("the former master has the last word on %s", got)
	}
	rows, err := s.list(t.Context(), 0, func(*asideRow) bool { return true })
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if err := s.table.Delete(t.Context(), rows[0].key); err != nil { // the process has ended in between
		t.Fatal(err)
	}
	if got := has(); got != "[false false]" {
		t.Errorf("the former master has the last word on %s, of which there is no row", got)
	}
}
