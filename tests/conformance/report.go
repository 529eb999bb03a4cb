package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// limits of what is printed of a body, in bytes.
const (
	shownBody = 1500
	shownStep = 400
)

// describe shows a failure with the calls that matter: the one of the step, or
// all of them.
func describe(t *test, f *failure, all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s line %d (%s)\n  step    %s\n  problem %s\n", t, f.line, f.part, cut(f.step, shownStep), indent(cut(f.problem, shownBody)))
	calls := f.calls
	if !all && len(calls) > 1 {
		calls = calls[len(calls)-1:]
	}
	for _, c := range calls {
		fmt.Fprintf(&b, "  client  %s\n  answer  %s\n", ask(c.method, c.target, c.body), reply(c.status, c.answer))
		if changes := changed(c); changes != "" {
			fmt.Fprintf(&b, "  changes %s\n", changes)
		}
		for i, e := range c.sent {
			fmt.Fprintf(&b, "  sent %-2d %s\n", i+1, ask(e.method, e.target, e.body))
			if e.err != nil {
				fmt.Fprintf(&b, "  got  %-2d %v\n", i+1, e.err)
				continue
			}
			fmt.Fprintf(&b, "  got  %-2d %s\n", i+1, reply(e.status, e.answer))
		}
	}
	return b.String()
}

// changed names the changes that a call met.
func changed(c *call) string {
	var all []string
	for _, f := range c.fired {
		for _, change := range slices.Concat(f.Request, f.Answer) {
			if !slices.Contains(all, change.ID) {
				all = append(all, change.ID)
			}
		}
	}
	return strings.Join(all, " ")
}

func ask(method, target, body string) string {
	return strings.TrimRight(method+" "+target+" "+indent(cut(body, shownBody)), " ")
}

func reply(status int, body string) string {
	return strings.TrimRight(fmt.Sprint(status)+" "+indent(cut(body, shownBody)), " ")
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return fmt.Sprintf("%s ... (%d bytes)", s[:n], len(s))
}

// indent keeps further lines below the first.
func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n          ")
}

// firstLine is a failure on one line.
func (f *failure) firstLine() string {
	line, _, _ := strings.Cut(f.problem, "\n")
	return fmt.Sprintf("line %d: %s", f.line, cut(line, 200))
}

// documents tells whether a test is about documents and search.
func (t *test) documents() bool {
	area, _, _ := strings.Cut(t.file, "/")
	switch area {
	case "bulk", "count", "create", "delete", "exists", "explain", "field_caps", "get", "get_source", "index", "mget", "mlt",
		"msearch", "mtermvectors", "range", "scroll", "suggest", "termvectors", "update":
		return true
	}
	return strings.HasPrefix(area, "search")
}
