package translate

import (
	"fmt"
	"io"
	"strings"
)

// A Crossing is a change that a client of one version meets on a cluster of
// another.
type Crossing struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Since    string `json:"since"` // "7.0"
	Fidelity string `json:"fidelity"`
	Loses    string `json:"loses,omitempty"`
	Doc      string `json:"doc"`
}

// Crossings lists what lies between a client's and a cluster's version, in the
// order of the versions. Changes for which nothing has to be done are left out.
func Crossings(client, cluster Version) []Crossing {
	var all []Crossing
	for _, c := range registered {
		d := c.Between(client, cluster)
		if d == nil || d.Fidelity == Nothing || c.Since.IsZero() {
			continue
		}
		all = append(all, Crossing{c.ID, c.Name, c.Since.Short(), d.Fidelity.String(), d.Loses, c.Doc})
	}
	return all
}

// Counts is how many crossings of each fidelity a list holds.
func Counts(crossings []Crossing) (exact, lossy, refused int) {
	for _, c := range crossings {
		switch c.Fidelity {
		case Exact.String():
			exact++
		case Lossy.String():
			lossy++
		case Refused.String():
			refused++
		}
	}
	return exact, lossy, refused
}

// majors are the versions that the documents speak of.
var majors = []Version{V(5, 6), V(6, 8), V(7, 17), V(8, 17)}

// WriteDifferences writes docs/differences.md.
func WriteDifferences(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Differences between Elasticsearch versions\n\nGenerated from the catalogue by `go generate ./docs`; do not edit.\n\n")
	b.WriteString("What a client of one version meets on a cluster of another: how many changes are exact, lossy, refused.\n")
	b.WriteString("`esperanto changes --from 5.6 --to 8.17` lists them for one pair.\n\n| client | cluster | exact | lossy | refused |\n|---|---|---|---|---|\n")
	for _, client := range majors {
		for _, cluster := range majors {
			if client == cluster {
				continue
			}
			exact, lossy, refused := Counts(Crossings(client, cluster))
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", client.Short(), cluster.Short(), exact, lossy, refused)
		}
	}
	b.WriteString("\n*Old client* is an application of an older version on a newer cluster, *new client* the other way round.\n\n")
	b.WriteString("| row | since | change | old client | new client |\n|---|---|---|---|---|\n")
	for _, c := range registered {
		since := "always"
		if !c.Since.IsZero() {
			since = c.Since.Short()
		}
		fmt.Fprintf(&b, "| %s | %s | **%s**: %s | %s | %s |\n", c.ID, since, c.Name, cell(c.Doc), direction(c.OldClient), direction(c.NewClient))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func direction(d Direction) string {
	switch d.Fidelity {
	case Exact:
		return "exact"
	case Lossy, Refused:
		return d.Fidelity.String() + ": " + cell(d.Loses)
	}
	return "–"
}

// cell makes a text fit into a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
