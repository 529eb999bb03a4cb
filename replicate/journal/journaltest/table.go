package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

func put(t testing.TB, table journal.Table, key, value string) {
	t.Helper()
	if err := table.Put(timeout(t), key, []byte(value)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func get(t testing.TB, table journal.Table, key string) string {
	t.Helper()
	v, err := table.Get(timeout(t), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if v == nil {
		return "(none)"
	}
	return string(v)
}

func scan(t testing.TB, table journal.Table) string {
	t.Helper()
	var s []string
	if err := table.Scan(timeout(t), func(key string, value []byte) bool {
		s = append(s, key+"="+string(value))
		return true
	}); err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return strings.Join(s, " ")
}

func expect(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func tables(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	state, dead := j.Table("state"), j.Table("dead-letters")
	expect(t, get(t, state, "epoch"), "(none)")
	for i := range 20 {
		put(t, state, "epoch", fmt.Sprint(i))
		expect(t, get(t, j.Table("state"), "epoch"), fmt.Sprint(i))
	}
	expect(t, get(t, dead, "epoch"), "(none)")
	put(t, dead, "epoch", "")
	expect(t, get(t, dead, "epoch"), "")
	value := []byte("abc")
	if err := state.Put(timeout(t), "kept", value); err != nil {
		t.Fatal(err)
	}
	copy(value, "xyz") // the table has its own copy
	expect(t, get(t, state, "kept"), "abc")
	if err := state.Delete(timeout(t), "epoch"); err != nil {
		t.Fatal(err)
	}
	if err := state.Delete(timeout(t), "never there"); err != nil {
		t.Fatal(err)
	}
	expect(t, get(t, state, "epoch"), "(none)")
	expect(t, scan(t, state), "kept=abc")
	expect(t, scan(t, dead), "epoch=")
}

func tablesReopened(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	for i := range 30 {
		put(t, j.Table("state"), fmt.Sprint("k", i%3), fmt.Sprint(i))
	}
	if err := j.Table("state").Delete(timeout(t), "k1"); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	j = open(t, o, Options{})
	expect(t, scan(t, j.Table("state")), "k0=27 k2=29")
	expect(t, get(t, j.Table("state"), "k0"), "27")
}

func tableScan(t *testing.T, o Opener) {
	j := open(t, o, Options{})
	table := j.Table("state")
	expect(t, scan(t, table), "")
	put(t, j.Table("stat"), "zzz", "other")
	put(t, j.Table("state2"), "aaa", "other")
	for _, key := range []string{"b", "", "a/1", "ä", "a", "a\x00b", "c"} {
		put(t, table, key, "v")
	}
	expect(t, scan(t, table), "=v a=v a\x00b=v a/1=v b=v c=v ä=v")
	seen := 0
	if err := table.Scan(timeout(t), func(key string, value []byte) bool {
		put(t, table, key, "w") // the table may be used meanwhile
		seen++
		return seen < 3
	}); err != nil || seen != 3 {
		t.Fatal(seen, err)
	}
	expect(t, scan(t, table), "=w a=w a\x00b=w a/1=v b=v c=v ä=v")
}

func tableRefuses(t *testing.T, o Opener) {
	j := open(t, o, Options{MaxRecordBytes: 10_000})
	if err := j.Table("state").Put(timeout(t), "k", bytes.Repeat([]byte("x"), 10_001)); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, name := range []string{"", "a/b", "A", "a\x00", "a.b"} {
		table := j.Table(name)
		_, get := table.Get(timeout(t), "k")
		for what, err := range map[string]error{
			"Put": table.Put(timeout(t), "k", nil), "Delete": table.Delete(timeout(t), "k"), "Get": get,
			"Scan": table.Scan(timeout(t), func(string, []byte) bool { return true }),
		} {
			if err == nil {
				t.Errorf("%s in a table named %q succeeded", what, name)
			}
		}
	}
}
