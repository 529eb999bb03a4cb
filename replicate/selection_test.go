package replicate

import (
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

func mustSelect(t *testing.T, i Indices) *selection {
	t.Helper()
	s, err := newSelection(i)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSelection(t *testing.T) {
	s := mustSelect(t, Indices{
		Include: []string{"logs-*", "books", "films"},
		Exclude: []string{"logs-debug-*"},
		Rename:  []Rename{{"logs-eu-*", "eu.{{leader_index}}"}, {"logs-*", "{{leader_index}}-copy"}},
	})
	for name, there := range map[string]string{"books": "books", "logs-1": "logs-1-copy", "logs-eu-1": "eu.logs-eu-1", "logs-1-copy": "logs-1-copy-copy", "logs-": "logs--copy"} {
		if !s.replicated(name) || s.There(name) != there {
			t.Errorf("%s: %v %s", name, s.replicated(name), s.There(name))
		}
		if back, ok := s.Here(there); !ok || back != name {
			t.Errorf("%s is %s, %v", there, back, ok)
		}
	}
	for _, name := range []string{"other", "logs-debug-1", ".kibana", "book", "logs"} {
		if s.replicated(name) {
			t.Errorf("%s is replicated", name)
		}
	}
	for _, there := range []string{"logs-1", "logs-debug-1-copy", "other", "eu.books", "-copy", "logs-eu-1-copy", "eu.logs-1"} {
		if name, ok := s.Here(there); ok {
			t.Errorf("%s is %s", there, name)
		}
	}
	if got := strings.Join(s.of([]string{"a", "books", "logs-debug-", "films"}), " "); got != "books films" {
		t.Error(got)
	}

	var all *selection
	if name, ok := all.Here("x"); !all.replicated("x") || all.There("x") != "x" || name != "x" || !ok || all.renames() || all.taken("x") != nil {
		t.Error("without a selection not everything is as it is")
	}
	only := mustSelect(t, Indices{Exclude: []string{"tmp*"}})
	if only.replicated("tmp1") || !only.replicated("xtmp") || only.renames() {
		t.Error(only)
	}
}

// TestNamesGoBack has every name come back that goes.
func TestNamesGoBack(t *testing.T) {
	s := mustSelect(t, Indices{Rename: []Rename{{"a*", "x-{{leader_index}}"}, {"b*", "{{leader_index}}.y"}, {"x-*c", "z{{leader_index}}"}}})
	names := []string{""}
	for range 5 {
		for _, n := range names {
			for _, c := range []string{"a", "b", "x-", "c", ".y", "z"} {
				names = append(names, n+c)
			}
		}
		if len(names) > 10_000 {
			break
		}
	}
	at := map[string]string{}
	for _, name := range names[1:] {
		if s.taken(name) != nil {
			continue
		}
		there := s.There(name)
		if back, ok := s.Here(there); !ok || back != name {
			t.Fatalf("%s → %s → %s, %v", name, there, back, ok)
		}
		if other, ok := at[there]; ok && other != name {
			t.Fatalf("%s and %s are both %s", name, other, there)
		}
		at[there] = name
	}
	if err := s.taken("x-ac"); err != nil { // it is renamed itself
		t.Error(err)
	}
	if err := s.taken("x-a"); err == nil || !strings.Contains(err.Error(), "index a has at the target") {
		t.Error(err)
	}
}

func TestImpossibleIndices(t *testing.T) {
	rename := func(r ...string) Indices {
		var i Indices
		for n := 0; n < len(r); n += 2 {
			i.Rename = append(i.Rename, Rename{r[n], r[n+1]})
		}
		return i
	}
	const l = leaderIndex
	for _, c := range []struct {
		indices Indices
		why     string
	}{
		{Indices{Include: []string{"Logs-*"}}, "include Logs-*: names of indices are in lower case"},
		{Indices{Include: []string{""}}, "is empty"},
		{Indices{Include: []string{"_all"}}, "write *"},
		{Indices{Include: []string{"a", "-b"}}, "exclude"},
		{Indices{Include: []string{"_x"}}, "begins with _"},
		{Indices{Exclude: []string{"a b"}}, `a " " in its name`},
		{Indices{Exclude: []string{"a?"}}, `a "?"`},
		{Indices{Exclude: []string{"a", "a"}}, "given twice"},
		{Indices{Exclude: []string{"*"}}, "nothing is left"},
		{Indices{Include: []string{"b", "a-*"}, Exclude: []string{"a*"}}, "include a-*: nothing is left of it by exclude a*"},
		{rename("a", "b"), "{{leader_index}} once"},
		{rename("a", l+l), "{{leader_index}} once"},
		{rename("a", l), "stays the same"},
		{rename("a", l+"-{{x}}"), `a "{"`},
		{rename("a", "_"+l), "may begin with _"},
		{rename("a", l+"-X"), "lower case"},
		{rename("a*", l+"-x", "ab*", l+"-y"), "never used, since a*"},
		{rename("a*", l+"-x", "a*", l+"-y"), "never used"},
		{rename("a*", l+"-b", "b*", "a"+l), "rename a* {{leader_index}}-b, such as ab-b"},
		{rename("*-1", "x"+l, "x*", l+"1"), "could get one name"},
	} {
		if err := c.indices.Check(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v", c.indices, err)
		}
	}
	for _, i := range []Indices{
		rename("logs-*", "copy-"+l),
		rename("a-*", l+"-x", "b-*", l+"-x"),
		rename("logs-eu-*", l+"-eu", "logs-*", l+"-copy"),
		rename("*", l+"-copy"),
		rename(".x*", "."+l),
		{},
	} {
		if err := i.Check(); err != nil {
			t.Errorf("%+v: %v", i, err)
		}
	}
}

func TestCommon(t *testing.T) {
	for _, c := range []struct{ a, b, name string }{
		{"a", "a", "a"}, {"a*", "*b", "ab"}, {"*", "*", ""}, {"a*c", "ab*", "abc"}, {"x*y*z", "*yz", "xyz"}, {"*a*", "b*b", "bab"},
	} {
		for _, p := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			name, ok := common(p[0], p[1])
			if !ok || name != c.name || !cluster.MatchIndex(c.a, name) || !cluster.MatchIndex(c.b, name) {
				t.Errorf("%v: %q, %v", p, name, ok)
			}
		}
	}
	for _, p := range [][2]string{{"a", "b"}, {"a*", "b*"}, {"*a", "*b"}, {"a", "aa"}, {"a*b", "c"}, {"", "a"}, {"a*c", "a*d"}} {
		if name, ok := common(p[0], p[1]); ok {
			t.Errorf("%v: %q", p, name)
		}
	}
	long := strings.Repeat("*a", 120)
	if _, ok := common(long+"b", long+"c"); ok {
		t.Error("b is c")
	}
}
