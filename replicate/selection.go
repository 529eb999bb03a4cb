package replicate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// Indices say which indices are replicated, and what they are called at the target.
// Names are those at the source. The zero value is all, under their own names.
type Indices struct {
	// Patterns of the indices that are replicated, in which `*` stands for any text.
	// Default: all.
	Include []string `json:"include,omitempty"`

	// Patterns of those that are not, although Include has them.
	Exclude []string `json:"exclude,omitempty"`

	// What indices are called at the target, if not as at the source; of several
	// patterns that fit, the first counts. The target cannot become the master then.
	Rename []Rename `json:"rename,omitempty"`
}

// A Rename is what the indices of a pattern are called at the target.
type Rename struct {
	Pattern string `json:"pattern"`

	// The name, which has `{{leader_index}}` once, in place of the name at the source.
	Name string `json:"name"`
}

// leaderIndex stands for an index's name at the source.
const leaderIndex = "{{leader_index}}"

// Check finds what cannot be meant.
func (i Indices) Check() error {
	_, err := newSelection(i)
	return err
}

// A selection is which indices are replicated, and under which names. A nil one is all
// indices, under their own names.
type selection struct {
	Indices
	rules []rule
}

// A rule gives the indices of a pattern other names.
type rule struct {
	pattern, before, after string
}

func newSelection(i Indices) (*selection, error) {
	if len(i.Include)+len(i.Exclude)+len(i.Rename) == 0 {
		return nil, nil
	}
	s := &selection{Indices: i}
	for what, patterns := range map[string][]string{"include": i.Include, "exclude": i.Exclude} {
		for n, p := range patterns {
			if err := checkPattern(p); err != nil {
				return nil, fmt.Errorf("%s %s: %w", what, p, err)
			}
			if slices.Contains(patterns[:n], p) {
				return nil, fmt.Errorf("%s %s: it is given twice", what, p)
			}
		}
	}
	for _, out := range i.Exclude {
		if len(i.Include) == 0 && out == "*" {
			return nil, errors.New("exclude *: nothing is left to replicate; leave out target instead")
		}
		for _, in := range i.Include {
			if cluster.MatchIndex(out, in) {
				return nil, fmt.Errorf("include %s: nothing is left of it by exclude %s; take out one of them", in, out)
			}
		}
	}
	for _, r := range i.Rename {
		if err := s.addRule(r); err != nil {
			return nil, fmt.Errorf("rename %s %s: %w", r.Pattern, r.Name, err)
		}
	}
	return s, nil
}

// addRule adds a rule, unless an index could get the same name by it as another one by
// a rule before.
func (s *selection) addRule(r Rename) error {
	if err := checkPattern(r.Pattern); err != nil {
		return err
	}
	before, after, once := strings.Cut(r.Name, leaderIndex)
	switch {
	case !once || strings.Contains(after, leaderIndex):
		return fmt.Errorf("the name has to have %s once, in place of the index's name at the source, such as %s-copy", leaderIndex, leaderIndex)
	case before+after == "":
		return errors.New("the name stays the same; leave it out")
	}
	for _, part := range []string{before, after} {
		if err := checkName(part); err != nil {
			return err
		}
	}
	if before != "" && strings.ContainsAny(before[:1], "_-+") {
		return errors.New("no index may begin with _, - or +")
	}
	for _, other := range s.rules {
		if cluster.MatchIndex(other.pattern, r.Pattern) {
			return fmt.Errorf("it is never used, since %s stands before it; exchange them, or take one out", other.pattern)
		}
		if other.before == before && other.after == after {
			continue
		}
		if both, ok := common(other.before+other.pattern+other.after, before+r.Pattern+after); ok {
			return fmt.Errorf("two indices could get one name by this and by rename %s %s%s%s, such as %s; choose another name", other.pattern, other.before, leaderIndex, other.after, both)
		}
	}
	s.rules = append(s.rules, rule{r.Pattern, before, after})
	return nil
}

// checkPattern finds what no index's name can be.
func checkPattern(p string) error {
	switch {
	case p == "":
		return errors.New("the pattern is empty")
	case p == "_all":
		return errors.New("write *")
	case strings.HasPrefix(p, "-"):
		return errors.New("no index begins with -; what is not replicated stands under exclude")
	case strings.HasPrefix(p, "_"), strings.HasPrefix(p, "+"):
		return errors.New("no index begins with _ or +")
	}
	return checkName(strings.ReplaceAll(p, "*", ""))
}

func checkName(s string) error {
	if i := strings.IndexAny(s, "*\\/?\"<>|, #:{}"); i >= 0 {
		return fmt.Errorf("no index has a %q in its name", s[i:i+1])
	}
	if s != strings.ToLower(s) {
		return errors.New("names of indices are in lower case")
	}
	return nil
}

// An overlap looks for a name that two patterns match.
type overlap struct {
	a, b  string
	tried map[[2]int]bool
}

// common is a name that two patterns match, if there is one.
func common(a, b string) (name string, ok bool) {
	return (&overlap{a, b, map[[2]int]bool{}}).from(0, 0)
}

// from is a name that is matched by what is left of a from i on, and of b from j on.
func (m *overlap) from(i, j int) (name string, ok bool) {
	at := [2]int{i, j}
	if m.tried[at] {
		return "", false
	}
	m.tried[at] = true
	endA, endB := i == len(m.a), j == len(m.b)
	switch {
	case endA && endB:
		return "", true
	case !endA && m.a[i] == '*':
		if name, ok = m.from(i+1, j); ok || endB {
			return name, ok
		}
		name, ok = m.from(i, j+1)
		return strings.Trim(m.b[j:j+1], "*") + name, ok
	case !endB && m.b[j] == '*':
		if name, ok = m.from(i, j+1); ok || endA {
			return name, ok
		}
		name, ok = m.from(i+1, j)
		return m.a[i:i+1] + name, ok
	case endA || endB || m.a[i] != m.b[j]:
		return "", false
	}
	name, ok = m.from(i+1, j+1)
	return m.a[i:i+1] + name, ok
}

// replicated reports whether an index of the source is.
func (s *selection) replicated(name string) bool {
	if s == nil {
		return true
	}
	matches := func(p string) bool { return cluster.MatchIndex(p, name) }
	return (len(s.Include) == 0 || slices.ContainsFunc(s.Include, matches)) && !slices.ContainsFunc(s.Exclude, matches)
}

// of are those of names that are replicated.
func (s *selection) of(names []string) []string {
	if s == nil {
		return names
	}
	var list []string
	for _, name := range names {
		if s.replicated(name) {
			list = append(list, name)
		}
	}
	return list
}

// renames reports whether there are indices with another name at the target.
func (s *selection) renames() bool { return s != nil && len(s.rules) > 0 }

// ruleOf is the rule by which an index gets another name, nil if it keeps its own.
func (s *selection) ruleOf(name string) *rule {
	if s != nil {
		for i := range s.rules {
			if cluster.MatchIndex(s.rules[i].pattern, name) {
				return &s.rules[i]
			}
		}
	}
	return nil
}

// There implements cluster.Names: the name at the target of an index of the source.
func (s *selection) There(name string) string {
	if r := s.ruleOf(name); r != nil {
		return r.before + name + r.after
	}
	return name
}

// Here implements cluster.Names. No two indices have one name there: of the rules,
// newSelection sees to it; and an index that keeps its name although one that is
// renamed could get it is not replicated (see taken).
func (s *selection) Here(there string) (name string, ok bool) {
	if s == nil {
		return there, true
	}
	if name := s.renamed(there); name != "" {
		return name, true
	}
	return there, s.ruleOf(there) == nil && s.replicated(there)
}

// renamed is the index that has this name at the target and another one at the source,
// "" if there is none.
func (s *selection) renamed(there string) string {
	for i := range s.rules {
		name, before := strings.CutPrefix(there, s.rules[i].before)
		name, after := strings.CutSuffix(name, s.rules[i].after)
		if before && after && name != "" && s.ruleOf(name) == &s.rules[i] && s.replicated(name) {
			return name
		}
	}
	return ""
}

// taken is why an index cannot be replicated under its own name, nil if it can.
func (s *selection) taken(name string) error {
	if !s.renames() || s.ruleOf(name) != nil {
		return nil
	}
	other := s.renamed(name)
	if other == "" {
		return nil
	}
	return fmt.Errorf("it would get the name that index %s has at the target; exclude one of them, rename this one too, or choose another name in indices", other)
}

// why is an error about an index that is not replicated.
func (s *selection) why(name string) error {
	return fmt.Errorf("index %s is not replicated: %s", name, s)
}

// told is what the other gateways are told of it, "" for all.
func (s *selection) told() string {
	if s == nil {
		return ""
	}
	return s.String()
}

// String says what is replicated, for an operator.
func (s *selection) String() string {
	if s == nil {
		return "all indices are replicated"
	}
	var parts []string
	for _, p := range []struct {
		word string
		list []string
	}{{"include ", s.Include}, {"exclude ", s.Exclude}} {
		if len(p.list) > 0 {
			parts = append(parts, p.word+strings.Join(p.list, " "))
		}
	}
	for _, r := range s.Rename {
		parts = append(parts, "rename "+r.Pattern+" "+r.Name)
	}
	return "indices { " + strings.Join(parts, "; ") + " }"
}
