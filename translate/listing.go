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

const differencesHead = `# Differences between Elasticsearch versions

Generated from the catalogue by ` + "`go generate ./docs`" + `; do not edit.

An application of one version meets these changes on a cluster of another. Each is

- **exact**: the application cannot tell that the cluster has another version;
- **lossy**: the request works, but something is approximated or left out, which the answer's header ` + "`X-Esperanto-Lossy`" + ` says by the
  change's name;
- **refused**: a clear error, as the cluster has nothing that does the same.

How many changes lie between two versions; ` + "`esperanto changes --from 5.6 --to 8.17`" + ` lists them. A change counts with the worst that it may
have to do: most requests meet only few of them.

| application | cluster | exact | lossy | refused |
|---|---|---|---|---|
`

// WriteDifferences writes docs/differences.md.
func WriteDifferences(w io.Writer) error {
	var b strings.Builder
	b.WriteString(differencesHead)
	for _, client := range majors {
		for _, cluster := range majors {
			if client == cluster {
				continue
			}
			exact, lossy, refused := Counts(Crossings(client, cluster))
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", client.Short(), cluster.Short(), exact, lossy, refused)
		}
	}
	b.WriteString("\nIn the tables, *older application* is one from before the change on a cluster with it, *newer application* the other way round; " +
		"– means that nothing has to be done.\n")
	section := -1
	for _, c := range registered {
		if major := c.Since.Major; major != section {
			section = major
			title := "What the gateway always does"
			if major > 0 {
				title = fmt.Sprintf("What came with %d.x", major)
			}
			b.WriteString("\n## " + title + "\n\n| since | change | older application | newer application | id |\n|---|---|---|---|---|\n")
		}
		since := "always"
		if !c.Since.IsZero() {
			since = c.Since.Short()
		}
		fmt.Fprintf(&b, "| %s | **%s**: %s | %s | %s | %s |\n", since, c.Name, cell(c.Doc), direction(c.OldClient), direction(c.NewClient), c.ID)
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
