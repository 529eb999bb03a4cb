package scenario

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/esperanto-es/esperanto/tests/harness"
)

var (
	onlyPair = flag.String("pair", "", "compare this pair only, such as 5->8")
	onlyStep = flag.String("step", "", "compare the steps that match this pattern only; all steps of their subjects are run")
)

// releases are the versions that stand for a major.
var releases = map[int]string{5: "5.6.16", 6: "6.8.23", 7: "7.17.28", 8: "8.7.1"}

// required is the share of steps, in percent, that has to agree on a pair, of
// those that the other cluster has the modules for.
const required = 99

// TestScenario runs every dialect at home and on each other major.
func TestScenario(t *testing.T) {
	harness.Real(t)
	subjects, err := readSubjects()
	if err != nil {
		t.Fatal(err)
	}
	expected, err := readExpected(subjects)
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := regexp.Compile(*onlyStep)
	if err != nil {
		t.Fatal(err)
	}
	if *onlyStep != "" {
		subjects = slices.DeleteFunc(subjects, func(s *subject) bool {
			return !slices.ContainsFunc(s.steps, func(st *step) bool { return pattern.MatchString(st.String()) })
		})
	}
	answers := runAll(t, subjects)
	if t.Failed() {
		return
	}
	var table []string
	for _, client := range majors {
		for _, on := range majors {
			pair := fmt.Sprintf("%d->%d", client, on)
			if client == on || *onlyPair != "" && pair != *onlyPair {
				continue
			}
			j := judge{t: t, pair: pair, expected: expected}
			for _, s := range subjects {
				for _, st := range s.steps {
					home, got := answers[run{s, client, client}][st], answers[run{s, client, on}][st]
					if home != nil && got != nil && pattern.MatchString(st.String()) {
						j.step(st, st.requests[client], home, got)
					}
				}
			}
			table = append(table, j.line(*onlyStep == ""))
		}
	}
	t.Log("steps that agree with home\n" + strings.Join(table, "\n"))
}

// A run is one subject in one dialect on one major.
type run struct {
	*subject
	dialect, on int
}

// runAll runs all subjects in all dialects, one cluster beside the other. What is
// asked for one pair only leaves the others out.
func runAll(t *testing.T, subjects []*subject) map[run]map[*step]*answer {
	all := map[run]map[*step]*answer{}
	var mu sync.Mutex
	var lanes sync.WaitGroup
	defer lanes.Wait()
	bySeven := map[string][]*subject{}
	for _, s := range subjects {
		bySeven[s.seven] = append(bySeven[s.seven], s)
	}
	type lane struct {
		on       int
		release  string
		subjects []*subject
	}
	// Subjects of one cluster run one after the other, as each wipes it.
	byRelease := map[string]*lane{}
	for seven, list := range bySeven {
		for _, on := range majors {
			release := releases[on]
			if on == 7 && seven != "" {
				release = seven
			}
			if byRelease[release] == nil {
				byRelease[release] = &lane{on: on, release: release}
			}
			l := byRelease[release]
			l.subjects = append(l.subjects, list...)
		}
	}
	for _, l := range byRelease {
		c := harness.Shared(t, harness.Options{Version: l.release, Name: "scenario"})
		lanes.Go(func() {
			for _, dialect := range majors {
				if !wanted(dialect, l.on) {
					continue
				}
				for _, s := range l.subjects {
					if !slices.Contains(s.only, dialect) || !slices.Contains(s.only, l.on) {
						continue
					}
					if err := wipe(t.Context(), c.URL()); err != nil {
						t.Errorf("wiping %s: %v", l.release, err)
						return
					}
					base := c.URL()
					if dialect != l.on {
						base = newGateway(t, s, releaseFor(s, dialect), c.URL())
					}
					got := newRunner(base).run(context.Background(), s, dialect)
					mu.Lock()
					all[run{s, dialect, l.on}] = got
					mu.Unlock()
				}
			}
		})
	}
	return all
}

func releaseFor(s *subject, major int) string {
	if major == 7 && s.seven != "" {
		return s.seven
	}
	return releases[major]
}

// wanted reports whether a dialect has to be run on a major.
func wanted(dialect, on int) bool {
	pair := fmt.Sprintf("%d->%d", dialect, on)
	return *onlyPair == "" || pair == *onlyPair || dialect == on && strings.HasPrefix(*onlyPair, pair[:1])
}

// A judge counts the steps of one pair.
type judge struct {
	t        *testing.T
	pair     string
	expected map[string]expectation

	total, agree, known, cannot int
}

func (j *judge) step(st *step, q *request, home, got *answer) {
	found := differences(home, got)
	why, isKnown := j.expected[j.pair+" "+st.String()]
	if isKnown && why.row == noModule && len(found) > 0 {
		j.cannot++
		return
	}
	j.total++
	switch {
	case len(found) == 0 && isKnown:
		j.agree++
		j.t.Errorf("%s %s agrees, but expected.txt:%d says that it does not: remove it there", j.pair, st, why.line)
	case len(found) == 0:
		j.agree++
	case isKnown:
		j.known++
		if testing.Verbose() && *onlyStep != "" {
			j.t.Logf("%s %s (known: %s)\n%s", j.pair, st, why.reason, describe(q, home, got, found))
		}
	default:
		j.t.Errorf("%s %s differs\n%s", j.pair, st, describe(q, home, got, found))
	}
}

func describe(q *request, home, got *answer, found []string) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	if testing.Verbose() && *onlyStep != "" {
		fmt.Fprintf(&b, "  %s %s %s\n  home    %d %s\n  gateway %d %s\n", q.method, q.target, q.body, home.status, home.body, got.status, got.body)
		if names := got.header.Get("X-Esperanto-Lossy"); names != "" {
			fmt.Fprintf(&b, "  lossy: %s\n", names)
		}
	}
	return b.String()
}

// line is the pair's line in the table; complete tells that all steps were run,
// so that their share has to be high enough.
func (j *judge) line(complete bool) string {
	share := 100 * float64(j.agree) / float64(max(j.total, 1))
	if complete && share < required {
		j.t.Errorf("%s: %.1f %% of the steps agree, %d %% are required", j.pair, share, required)
	}
	return fmt.Sprintf("  %s  %4d of %4d  %5.1f %%  (known to differ %d, new %d; the cluster lacks the module for %d)",
		j.pair, j.agree, j.total, share, j.known, j.total-j.agree-j.known, j.cannot)
}
