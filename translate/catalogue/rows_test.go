package catalogue_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/translate"
)

// TestRows compares the catalogue with the rows of the table of differences: a
// row has a Change, or a reason why it has none, and never both. What is open is
// listed in the roadmap.
func TestRows(t *testing.T) {
	data, err := os.ReadFile("testdata/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string]bool{}
	for _, c := range translate.Changes() {
		changed[c.ID] = true
	}
	listed := map[string]bool{}
	var open []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if listed[id] {
			t.Errorf("row %s is listed twice", id)
		}
		listed[id] = true
		kind, what, _ := strings.Cut(reason, ": ")
		other, isPart := strings.CutPrefix(what, "part of ")
		switch {
		case changed[id] && reason != "":
			t.Errorf("row %s has a Change, and a reason why it has none: %s", id, reason)
		case changed[id]:
		case reason == "":
			t.Errorf("row %s has neither a Change nor a reason why it has none", id)
		case what == "" || kind != "open" && kind != "nothing to do":
			t.Errorf("row %s: %q does not say what is open or why there is nothing to do", id, reason)
		case isPart && !changed[other]:
			t.Errorf("row %s is part of %s, which has no Change", id, other)
		case kind == "open":
			open = append(open, id)
		}
	}
	for id := range changed {
		if !listed[id] {
			t.Errorf("row %s has a Change and is not listed", id)
		}
	}

	roadmap, err := os.ReadFile("../../docs/roadmap.md")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(open)
	want := fmt.Sprintf("%d rows of the table of differences: %s.", len(open), strings.Join(open, ", "))
	switch text := strings.Join(strings.Fields(string(roadmap)), " "); {
	case len(open) == 0 && strings.Contains(text, "rows of the table of differences"):
		t.Error("docs/roadmap.md speaks of rows that are open; none is")
	case len(open) > 0 && !strings.Contains(text, want):
		t.Errorf("docs/roadmap.md does not say: %s", want)
	}
}
