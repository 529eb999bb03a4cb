package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// EqualPrefix fails the test unless both clusters have the same indices whose
// names begin with prefix, with the same documents. An index that is closed is
// compared by name only.
func EqualPrefix(t testing.TB, a, b *harness.Cluster, prefix string) {
	t.Helper()
	inA, inB := Indices(t, a, prefix), Indices(t, b, prefix)
	if !slices.Equal(inA, inB) {
		t.Errorf("%s has the indices %v, %s has %v", a.Version, inA, b.Version, inB)
	}
	for _, name := range inA {
		if slices.Contains(inB, name) && !strings.HasSuffix(name, " (closed)") {
			Equal(t, a, b, name)
		}
	}
}

// Indices lists the indices whose names begin with prefix, in order. Behind the
// name of a closed one stands " (closed)".
func Indices(t testing.TB, c *harness.Cluster, prefix string) []string {
	t.Helper()
	_, list := c.Do(t, "GET", "/_cat/indices?h=status,index", "")
	var names []string
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.HasPrefix(fields[1], prefix) {
			name := fields[1]
			if fields[0] == "close" {
				name += " (closed)"
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
