package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A pair is a suite and the major of the cluster that it is run on.
type pair struct{ client, cluster int }

func (p pair) String() string { return fmt.Sprintf("%d->%d", p.client, p.cluster) }

// A list says why tests do not pass. Its file has a line for each:
//
//	file/test name: kind: reason
type list map[string]entry

// kinds of entries.
const (
	// atHome: it does not pass on a cluster of its own major either.
	atHome = "home"
	// cannot: the other major, or the cluster of the tests, is not able to. Such
	// tests are not counted. The reason names the row of docs/differences.md that
	// refuses it, or what is missing.
	cannot = "cannot"
	// varies: it passes on some runs, as what the cluster does is not determined.
	// Such tests are not counted.
	varies = "varies"
	// open: it could pass and does not yet. Counted as a failure.
	open = "open"
)

type entry struct{ kind, reason string }

// drafted tells whether an entry is a draft that nobody has put into words yet.
func (e entry) drafted() bool { return draftedReason.MatchString(e.reason) }

var draftedReason = regexp.MustCompile(`^(line \d|refused\b|by nature:|the \d\.x of the tests lacks)`)

// readList reads a file; one that does not exist is empty.
func readList(path string) (list, error) {
	all := list{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, e, ok := parseEntry(line)
		if !ok {
			return nil, fmt.Errorf("%s:%d: not \"file/test: kind: reason\"", path, n)
		}
		if _, ok := all[name]; ok {
			return nil, fmt.Errorf("%s:%d: %s is there twice", path, n, name)
		}
		all[name] = e
	}
	return all, lines.Err()
}

// parseEntry finds the kind: names of tests contain colons.
func parseEntry(line string) (name string, e entry, ok bool) {
	for _, kind := range []string{atHome, cannot, varies, open} {
		if name, reason, found := strings.Cut(line, ": "+kind+": "); found && strings.TrimSpace(reason) != "" {
			return name, entry{kind, strings.TrimSpace(reason)}, true
		}
	}
	return "", entry{}, false
}

func writeList(path, head string, all list) error {
	var b strings.Builder
	for line := range strings.Lines(head) {
		b.WriteString("# " + line)
	}
	b.WriteString("\n")
	var lines []string
	for name, e := range all {
		lines = append(lines, name+": "+e.kind+": "+e.reason+"\n")
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
