package journaltest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// swap swaps; "(none)" is no value.
func swap(t testing.TB, table journal.Table, key, before, after string) bool {
	t.Helper()
	var b []byte
	if before != "(none)" {
		b = []byte(before)
	}
	ok, err := table.Swap(timeout(t), key, b, []byte(after))
	if err != nil {
		t.Fatalf("Swap: %v", err)
	}
	return ok
}

func expectSwap(t testing.TB, table journal.Table, key, before, after string, want bool) {
	t.Helper()
	if got := swap(t, table, key, before, after); got != want {
		t.Fatalf("Swap of %q from %q to %q: %v, and there is %q", key, before, after, got, get(t, table, key))
	}
}

func swaps(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	table := j.Table("state")
	expectSwap(t, table, "a", "", "1", false)
	expectSwap(t, table, "a", "(none)", "1", true)
	expectSwap(t, table, "a", "(none)", "2", false)
	expect(t, get(t, table, "a"), "1")
	expectSwap(t, table, "a", "1", "", true)
	expectSwap(t, table, "a", "(none)", "3", false)
	expectSwap(t, table, "a", "", "1", true) // as it was once before
	expectSwap(t, table, "b", "(none)", "x", true)
	put(t, table, "c", "put")
	expectSwap(t, table, "c", "put", "swapped", true) // what was put can be swapped
	expect(t, scan(t, table), "a=1 b=x c=swapped")
	if ok, err := table.Swap(timeout(t), "a", []byte("1"), nil); ok || err == nil {
		t.Errorf("swapped for nothing: %v %v", ok, err)
	}

	compete(t, []journal.Table{table, j.Table("state")})
	expect(t, get(t, table, "a"), "1")
}

// compete has a number go up from swap to swap, by several who try at once. Each
// step is one's, and none is done twice.
func compete(t testing.TB, tables []journal.Table) {
	t.Helper()
	const steps = 60
	var mu sync.Mutex
	by := map[string][]string{} // what was swapped → by whom
	var all sync.WaitGroup
	for w := range 2 * len(tables) {
		table := tables[w%len(tables)]
		all.Go(func() {
			for {
				before := get(t, table, "number")
				n := -1
				fmt.Sscanf(before, "%d", &n)
				if n >= steps {
					return
				}
				me := fmt.Sprintf("%d by %d", n+1, w)
				if swap(t, table, "number", before, me) {
					mu.Lock()
					by[before] = append(by[before], me)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	at := "(none)"
	for n := range steps + 1 {
		if len(by[at]) != 1 || !strings.HasPrefix(by[at][0], fmt.Sprint(n, " ")) {
			t.Fatalf("from %q went %q", at, by[at])
		}
		at = by[at][0]
	}
	for _, table := range tables {
		put(t, table, "looked", "") // sees what was put before
		expect(t, get(t, table, "number"), at)
	}
}

func swapsReopened(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	compete(t, []journal.Table{j.Table("state")})
	last := get(t, j.Table("state"), "number")
	for range 3 {
		closeJournal(t, j)
		j = open(t, o, Options{})
		expect(t, get(t, j.Table("state"), "number"), last)
		expectSwap(t, j.Table("state"), "number", "(none)", "lost", false)
		expectSwap(t, j.Table("state"), "number", last, last+"+", true)
		last += "+"
	}
}

func sharedSwaps(t *testing.T, o Opener) {
	var tables []journal.Table
	for range 3 {
		tables = append(tables, open(t, o, Options{}).Table("state"))
	}
	compete(t, tables)
	// One that has not heard of it yet loses, and has heard of it then.
	a, b := tables[0], tables[1]
	expectSwap(t, a, "phase", "(none)", "0", true)
	put(t, b, "looked", "")
	for i := range 20 {
		before, next := fmt.Sprint(i), fmt.Sprint(i+1)
		expectSwap(t, a, "phase", before, next, true)
		expectSwap(t, b, "phase", before, "lost", false)
		until(t, "b sees it", func() bool { return get(t, b, "phase") == next })
	}
}

func sharedSwapsLater(t *testing.T, o Opener) {
	a := open(t, o, Options{})
	compete(t, []journal.Table{a.Table("state")})
	last := get(t, a.Table("state"), "number")
	b := open(t, o, Options{})
	expect(t, get(t, b.Table("state"), "number"), last)
	expectSwap(t, b.Table("state"), "number", last, "b's", true)
	expectSwap(t, a.Table("state"), "number", last, "a's", false)
	put(t, a.Table("state"), "looked", "")
	expect(t, get(t, a.Table("state"), "number"), "b's")
}
