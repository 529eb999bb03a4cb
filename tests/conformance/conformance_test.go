package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/docs"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/chain"
	"github.com/esperanto-es/esperanto/tests/harness"
	"github.com/esperanto-es/esperanto/translate"
)

var (
	onlyPair        = flag.String("pair", "", "run these pairs only, such as 5->8, or 5->6,5->7; 5->5 is home")
	onlyTest        = flag.String("test", "", "run the tests whose file/name matches this pattern only")
	share           = flag.Int("share", 0, "run one of so many tests; 0: one of 10, or all if -pair or -test is given")
	onlyListed      = flag.Bool("listed", false, "run only the tests that stand in expected/*.txt: which of them pass by now?")
	withHome        = flag.Bool("home", false, "run the suites at home, too, and check home/*.txt")
	seven           = flag.String("seven", "7.10.2", "the version that stands for 7")
	clusterURL      = flag.String("cluster", "", "URL of a cluster that is up and may be wiped, for the one pair that is run")
	severalTypes    = flag.String("types", "merge", "what becomes of several types in an index of 5: merge, split, or refuse; the lists are those of merge")
	straight        = flag.Bool("straight", false, "no gateway in between: what a plain proxy would do")
	trace           = flag.Bool("trace", false, "show all calls of a test that fails, not only the one of the step")
	outDir          = flag.String("out", "", "write failures into this folder, PAIR.txt")
	figuresFile     = flag.String("figures", "", "write the figures of the pairs, as the lists have them, into this file")
	rewriteHome     = flag.Bool("rewrite-home", false, "write home/*.txt by what passes")
	rewriteExpected = flag.Bool("rewrite-expected", false, "add failures to expected/*.txt as open, and take out what passes")
)

// slow tests are named with -v.
const slow = 5 * time.Second

var majors = []int{5, 6, 7, 8}

func release(major int) string {
	return map[int]string{5: "5.6.16", 6: "6.8.23", 7: *seven, 8: "8.7.1"}[major]
}

// specs are the versions of harness.RESTSpec.
var specs = map[int]string{5: "5.6.4", 6: "6.6.0", 7: "7.10.2", 8: "7.10.2"}

func (p pair) wanted() bool {
	if *onlyPair == "" {
		return p.client != p.cluster || *withHome
	}
	for _, s := range strings.Split(*onlyPair, ",") {
		if s == p.String() {
			return true
		}
	}
	return false
}

// listFile is where the tests stand that do not pass.
func (p pair) listFile() string {
	if p.client == p.cluster {
		return filepath.Join("home", fmt.Sprintf("%d.txt", p.client))
	}
	return filepath.Join("expected", fmt.Sprintf("%d-%d.txt", p.client, p.cluster))
}

// TestConformance runs the suites on the pairs that are wanted, one cluster
// beside the other.
func TestConformance(t *testing.T) {
	harness.Real(t)
	suites := map[int]*suite{}
	for _, m := range majors {
		suites[m] = loadSuite(t, m)
	}
	results := map[pair]map[*test]*failure{}
	var mu sync.Mutex
	var lanes sync.WaitGroup
	for _, on := range majors {
		var pairs []pair
		for _, client := range majors {
			if p := (pair{client, on}); p.wanted() {
				pairs = append(pairs, p)
				results[p] = map[*test]*failure{}
			}
		}
		if len(pairs) == 0 {
			continue
		}
		base := *clusterURL
		if base == "" {
			base = harness.Shared(t, harness.Options{Version: release(on), Name: "conformance", Memory: true}).URL()
		}
		lanes.Go(func() {
			for _, p := range pairs {
				if err := runPair(t, p, suites[p.client], base, func(ts *test, f *failure) {
					mu.Lock()
					results[p][ts] = f
					mu.Unlock()
				}); err != nil {
					t.Errorf("%s: %v", p, err)
					return
				}
			}
		})
	}
	lanes.Wait()
	if t.Failed() {
		return
	}
	var table []docs.Conformance
	for _, client := range majors {
		for _, on := range majors {
			p := pair{client, on}
			if outcome, ok := results[p]; ok {
				t.Run(p.String(), func(t *testing.T) { table = append(table, judge(t, p, suites[client], outcome)) })
			}
		}
	}
	report(t, table)
}

func loadSuite(t *testing.T, major int) *suite {
	t.Helper()
	jar, err := harness.RESTSpec(t.Context(), specs[major], t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSuite(jar, major)
	if err != nil {
		t.Fatal(err)
	}
	if major == 8 {
		s = typeless(s)
	}
	return s
}

// chosen tells whether a test belongs to this run.
func chosen(ts *test, p pair) bool {
	n := uint32(*share)
	if n == 0 {
		n = 10
		if *onlyPair != "" || *onlyTest != "" || *onlyListed {
			n = 1
		}
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s", p, ts)
	return h.Sum32()%n == 0
}

// runPair runs the tests of a suite on one cluster, one after the other.
func runPair(t *testing.T, p pair, s *suite, base string, tell func(*test, *failure)) error {
	pattern, err := regexp.Compile(*onlyTest)
	if err != nil {
		return err
	}
	home, err := readList(pair{p.client, p.client}.listFile())
	if err != nil {
		return err
	}
	listed, err := readList(p.listFile())
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 3 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	w := &wiper{base, client}
	ran := 0
	for _, ts := range s.tests {
		_, fails := home[ts.String()]
		if _, known := listed[ts.String()]; *onlyListed && !known {
			continue
		}
		if !pattern.MatchString(ts.String()) || !chosen(ts, p) || ts.skipped(release(p.client)) != "" || fails && p.client != p.cluster {
			continue
		}
		if err := w.wipe(t.Context()); err != nil {
			return fmt.Errorf("before %s: %w", ts, err)
		}
		begin := time.Now()
		f, err := runTest(t.Context(), p, s, ts, base, client)
		if err != nil {
			return err
		}
		if took := time.Since(begin); took > slow && testing.Verbose() {
			fmt.Fprintf(os.Stderr, "%s %s took %.1f s\n", p, ts, took.Seconds())
		}
		if ran++; ran%100 == 0 && testing.Verbose() {
			fmt.Fprintf(os.Stderr, "%s %d tests\n", p, ran)
		}
		tell(ts, f)
	}
	return w.wipe(t.Context())
}

// runTest gives each test a gateway of its own, which knows nothing yet of the
// cluster.
func runTest(ctx context.Context, p pair, s *suite, ts *test, base string, client *http.Client) (*failure, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if p.client == p.cluster || *straight {
		return (&session{suite: s, base: base, client: client}).run(ctx, ts), nil
	}
	sent := &recorder{}
	g, err := chain.Start(chain.Options{Dialect: release(p.client), Cluster: base, Types: typesFor(p), Fired: sent.told, Wrap: func(next esapi.Sender) esapi.Sender {
		sent.next = next
		return sent
	}})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	defer client.CloseIdleConnections()
	return (&session{suite: s, base: g.URL, client: client, sent: sent}).run(ctx, ts), nil
}

// typesFor is what becomes of several types in an index, which the tests of 5
// have.
func typesFor(p pair) translate.TypesSetting {
	if p.client == 5 && *severalTypes != "refuse" {
		return translate.TypesSetting(*severalTypes)
	}
	return translate.RefuseTypes
}

// judge holds what came out of a pair against its list.
func judge(t *testing.T, p pair, s *suite, outcome map[*test]*failure) docs.Conformance {
	known, err := readList(p.listFile())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, ts := range s.tests {
		names[ts.String()] = true
	}
	for name := range known {
		if !names[name] {
			t.Errorf("%s: there is no test %s", p.listFile(), name)
		}
	}
	rewrite := *rewriteExpected && p.client != p.cluster || *rewriteHome && p.client == p.cluster
	figures := docs.Conformance{Pair: p.String()}
	var failures strings.Builder
	for _, ts := range s.tests {
		f, ran := outcome[ts]
		if !ran {
			continue
		}
		e, listed := known[ts.String()]
		if f != nil {
			fmt.Fprintf(&failures, "--- %s\n%s\n", e.kind, describe(ts, f, *trace))
		}
		switch {
		case f == nil && e.kind == varies:
		case f == nil && listed && rewrite:
			delete(known, ts.String())
			listed = false
		case f == nil && listed:
			t.Errorf("%s passes, but %s says that it does not: take it out there", ts, p.listFile())
		case f != nil && rewrite && (!listed || e.drafted()):
			e = draft(p, ts, f)
			if p.client == p.cluster {
				e = entry{atHome, f.firstLine()}
			}
			known[ts.String()], listed = e, true
		case f != nil && !listed && testing.Verbose():
			t.Errorf("%s", describe(ts, f, *trace))
		case f != nil && !listed:
			t.Errorf("%s %s", ts, f.firstLine())
		case f != nil && testing.Verbose() && *onlyTest != "":
			t.Logf("%s: %s\n%s", e.kind, e.reason, describe(ts, f, *trace))
		}
		switch {
		case listed && e.kind != open:
			count(&figures, ts, e.kind)
		case f != nil:
			count(&figures, ts, open)
		default:
			count(&figures, ts, "")
		}
	}
	if *outDir != "" {
		name := strings.ReplaceAll(p.String(), "->", "-") + ".txt"
		if err := errors.Join(os.MkdirAll(*outDir, 0o755), os.WriteFile(filepath.Join(*outDir, name), []byte(failures.String()), 0o644)); err != nil {
			t.Error(err)
		}
	}
	if rewrite {
		head := fmt.Sprintf("Tests of the %s suite that do not pass on %s, each with the reason.\n", specs[p.client], release(p.cluster))
		if err := writeList(p.listFile(), head, known); err != nil {
			t.Error(err)
		}
	}
	return figures
}

func report(t *testing.T, table []docs.Conformance) {
	var b strings.Builder
	for _, f := range table {
		b.WriteString(f.String() + "\n")
	}
	t.Logf("tests that pass\n%s", b.String())
}

// TestFigures wants the documented figures to be those that follow from the lists,
// which a run of all tests shows to be true, or writes them.
func TestFigures(t *testing.T) {
	harness.Real(t)
	var table []docs.Conformance
	for _, client := range majors {
		s := loadSuite(t, client)
		for _, on := range majors {
			if on != client {
				table = append(table, figuresOf(t, pair{client, on}, s))
			}
		}
	}
	text, err := json.MarshalIndent(table, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *figuresFile != "" {
		if err := os.WriteFile(*figuresFile, text, 0o644); err != nil {
			t.Error(err)
		}
		return
	}
	documented, err := os.ReadFile("../../docs/conformance.json")
	if err != nil || !bytes.Equal(documented, text) {
		t.Errorf("docs/conformance.json is not what the lists say (%v); run this test with -figures ../../docs/conformance.json, then go generate ./docs", err)
	}
}

func figuresOf(t *testing.T, p pair, s *suite) docs.Conformance {
	home, err := readList(pair{p.client, p.client}.listFile())
	if err != nil {
		t.Fatal(err)
	}
	known, err := readList(p.listFile())
	if err != nil {
		t.Fatal(err)
	}
	figures := docs.Conformance{Pair: p.String()}
	for _, ts := range s.tests {
		if _, fails := home[ts.String()]; !fails && ts.skipped(release(p.client)) == "" {
			count(&figures, ts, known[ts.String()].kind)
		}
	}
	return figures
}

// count adds a test; kind is that of its entry in the list, empty if it passes.
func count(figures *docs.Conformance, ts *test, kind string) {
	if kind == cannot || kind == varies {
		figures.Cannot++
		return
	}
	figures.All++
	if ts.documents() {
		figures.Documents++
	}
	if kind == "" {
		figures.AllPassed++
		if ts.documents() {
			figures.DocumentsPassed++
		}
	}
}
