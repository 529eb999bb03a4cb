package speed

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

var (
	speed       = flag.Bool("speed", false, "measure; otherwise it is only seen whether everything works")
	out         = flag.String("out", "", "also write the report to this file, as JSON; its path from the root, for tests run in their own folder")
	backends    = flag.String("backends", "stub,cluster", "what is measured with: stubs, which cost next to nothing, or real clusters")
	olderFlag   = flag.String("older", "7.17.28", "version of the cluster that is forwarded to")
	newerFlag   = flag.String("newer", "8.7.1", "version of the follower, which is also the cluster that clients of 5.6 are translated for")
	connections = flag.String("connections", "1,16,100", "connections of the clients")
	modesFlag   = flag.String("modes", strings.Join(modes, ","), "what is asked for")
	waysFlag    = flag.String("ways", keys(ways), "what stands in between; the direct ways are always measured")
	rounds      = flag.Int("rounds", 3, "how often it is the turn of each way")
	period      = flag.Duration("period", 1500*time.Millisecond, "how long a turn is; a fifth more to get warm")
	warm        = flag.Duration("warm", 6*time.Second, "how long the clusters are sent each of the modes before anything is measured, so that all is compiled")
	share       = flag.Float64("share", 0.5, "the rate that is offered, as a share of what goes through directly")
	pinned      = flag.Bool("pin", false, "have the clusters run on the first processor and all else on the second (Linux)")
	binary      = flag.String("binary", "", "the gateway's; built if there is none. Its path from the root")
	profiles    = flag.String("profiles", "", "a folder for a CPU profile of each gateway's last turn; its path from the root. Profiling costs a little, too")
	nginxFlag   = flag.String("nginx", "nginx", "the nginx that is compared with")
)

func keys(ways []*way) string {
	var all []string
	for _, w := range ways {
		all = append(all, w.key)
	}
	return strings.Join(all, ",")
}

// patience is that of each load.
var patience time.Duration

// small sets flags so that everything is run once.
func small() { *connections, *rounds, *period, patience = "2", 1, 20*time.Millisecond, time.Minute }

// few are the ways that say the most, of which the small run makes do for all modes
// but the first: on clusters each turn takes its time.
var few = []string{"direct", "journal", "newer", "5to8"}

func TestMain(m *testing.M) {
	if version := os.Getenv(stubEnv); version != "" {
		fmt.Fprintln(os.Stderr, runStub(version))
		os.Exit(1)
	}
	flag.Parse()
	if !*speed {
		small()
	}
	interrupted.watch()
	os.Exit(gateway.Main(m))
}

// A stage is where everything is measured, and what was measured.
type stage struct {
	report Report
	made   int // indices
}

// TestSpeed measures, and prints tables in the end if it is to.
func TestSpeed(t *testing.T) {
	harness.Real(t)
	s := &stage{report: Report{Date: time.Now(), Machine: measure.Machine(), Cores: runtime.NumCPU(), Flags: map[string]string{}, Pinned: *pinned}}
	flag.Visit(func(f *flag.Flag) { s.report.Flags[f.Name] = f.Value.String() })
	if nginxPath() == "" {
		s.report.Missing = append(s.report.Missing, "nginx, as there is none: install it or say where it is by -nginx")
	}
	if *binary == "" {
		*binary = gateway.Built(t) // with all processors
	}
	pinProcess(t, os.Getpid(), 1)
	for _, name := range strings.Split(*backends, ",") {
		t.Run(name, func(t *testing.T) { s.measure(t, s.backend(t, name)) })
	}
	s.report.Took = time.Since(s.report.Date).Seconds()
	if *speed {
		if err := s.report.Print(os.Stdout); err != nil {
			t.Error(err)
		}
	}
	if *out != "" {
		if err := measure.Write(*out, s.report); err != nil {
			t.Error(err)
		}
	}
}

func pinProcess(t *testing.T, pid, processor int) {
	t.Helper()
	if !*pinned {
		return
	}
	if err := pin(t.Context(), pid, processor); err != nil {
		t.Fatal(err)
	}
}

// backend starts or borrows clusters: of its own and with a JVM that compiles fully
// if something is measured.
func (s *stage) backend(t *testing.T, name string) *backend {
	b := &backend{name: name, prefix: "speed"}
	switch name {
	case "stub":
		b.stubs, b.older, b.newer = true, startStub(t, *olderFlag), startStub(t, *newerFlag)
	case "cluster":
		older, newer := s.cluster(t, *olderFlag), s.cluster(t, *newerFlag)
		b.prefix = older.Prefix(t)
		newer.CleanPrefix(t, b.prefix)
		b.older, b.newer = process(t, older), process(t, newer)
	default:
		t.Fatalf("-backends: %q is none of stub and cluster", name)
	}
	pinProcess(t, b.older.pid, 0)
	pinProcess(t, b.newer.pid, 0)
	return b
}

func (s *stage) cluster(t *testing.T, version string) *harness.Cluster {
	if !*speed {
		return harness.Elasticsearch(t, version)
	}
	o := harness.Options{Version: version, Name: "speed", Fast: true, Heap: "1g"}
	if *pinned {
		o.JVM = []string{"-XX:ActiveProcessorCount=1"}
	}
	return harness.Shared(t, o)
}

// process asks a cluster for its process.
func process(t *testing.T, c *harness.Cluster) cluster {
	_, answer := c.Do(t, "GET", "/_nodes/_local/process", "")
	pid := gjson.GetBytes(answer, "nodes.*.process.id").Int()
	if pid == 0 {
		t.Fatalf("no process in %s", answer)
	}
	return cluster{c.URL(), c.Version, int(pid)}
}

// chosen are the ways that are measured.
func chosen(t *testing.T, b *backend) (all []*way) {
	names := strings.Split(*waysFlag, ",")
	for _, name := range names {
		if !slices.ContainsFunc(ways, func(w *way) bool { return w.key == name }) {
			t.Fatalf("-ways: %q is none of %s", name, keys(ways))
		}
	}
	newer := slices.ContainsFunc(ways, func(w *way) bool { return w.newer && slices.Contains(names, w.key) })
	for _, w := range ways {
		possible := (w.key != "nginx" || nginxPath() != "") && !(w.applies && b.stubs)
		if slices.Contains(names, w.key) && possible || w.key == "direct" || w.key == "newer" && newer {
			all = append(all, w)
		}
	}
	return all
}

func chosenModes(t *testing.T, b *backend) (all []string) {
	for _, mode := range strings.Split(*modesFlag, ",") {
		if !slices.Contains(modes, mode) {
			t.Fatalf("-modes: %q is none of %s", mode, strings.Join(modes, ","))
		}
		if mode != "offered" || !b.stubs { // half of what a stub takes is more than anything in between does
			all = append(all, mode)
		}
	}
	return all
}

// measure goes through modes and connections.
func (s *stage) measure(t *testing.T, b *backend) {
	all := chosen(t, b)
	var doors map[*way]door
	if !*speed {
		doors = open(t, all, b)
	} else if !b.stubs {
		s.compileAll(t, b, all)
	}
	for _, mode := range chosenModes(t, b) {
		for _, n := range strings.Split(*connections, ",") {
			n, err := strconv.Atoi(n)
			if err != nil || n < 1 {
				t.Fatalf("-connections: %q", *connections)
			}
			t.Run(fmt.Sprintf("%s/%d", mode, n), func(t *testing.T) {
				doors := doors
				if *speed { // the most memory is that of this load
					doors = open(t, all, b)
				}
				s.compare(t, b, doors, turns(all, b, mode), mode, n)
			})
		}
	}
}

// compileAll has the clusters compile what they are going to run.
func (s *stage) compileAll(t *testing.T, b *backend, all []*way) {
	for _, w := range all {
		for _, mode := range chosenModes(t, b) {
			if w.plain() == w.key && mode != "offered" {
				v := visit{stage: s, backend: b, mode: mode, connections: 16}
				v.compile(t, w, direct(t, w, b))
			}
		}
	}
}

// compile goes on until a turn takes the cluster hardly less CPU time than the one before.
func (v *visit) compile(t *testing.T, w *way, d door) {
	for before, n := 0.0, 0; n < maxWarm; n++ {
		got, err := v.turn(t, w, d, *warm)
		if err != nil {
			t.Fatalf("%s: %v", w.key, err)
		}
		each := got.ClusterCPU / float64(got.Requests)
		if n > 0 && each > 0.95*before {
			return
		}
		before = each
	}
}

// maxWarm bounds the turns until a cluster is warm.
const maxWarm = 12

// open starts what stands in between.
func open(t *testing.T, all []*way, b *backend) map[*way]door {
	doors := map[*way]door{}
	for _, w := range all {
		doors[w] = w.start(t, w, b)
	}
	return doors
}

// turns are the ways that take turns in a mode.
func turns(all []*way, b *backend, mode string) []*way {
	return slices.DeleteFunc(slices.Clone(all), func(w *way) bool {
		return w.only != nil && !slices.Contains(w.only, mode) || !*speed && !b.stubs && mode != modes[0] && !slices.Contains(few, w.key)
	})
}

// compare has all ways take turns.
func (s *stage) compare(t *testing.T, b *backend, doors map[*way]door, all []*way, mode string, connections int) {
	v := visit{stage: s, backend: b, mode: mode, connections: connections}
	if *speed || mode == "offered" {
		v.warmUp(t, doors, all)
	}
	lines := map[*way]*Line{}
	for _, w := range all {
		lines[w] = &Line{Backend: b.name, Mode: mode, Connections: connections, Way: w.title(b)}
	}
	for round := range *rounds {
		for i := range all {
			w := all[(i+round)%len(all)]
			l := lines[w]
			if l == nil {
				continue
			}
			got, err := v.turn(t, w, doors[w], *period)
			if err != nil { // the others go on
				t.Errorf("%s: %v%s", w.key, err, log(doors[w]))
				s.report.Missing = append(s.report.Missing, fmt.Sprintf("%s, %s, %d connections, %s: %v", b.name, mode, connections, l.Way, err))
				delete(lines, w)
				continue
			}
			l.Rounds = append(l.Rounds, got)
		}
	}
	for _, w := range all {
		l, plain := lines[w], lines[v.plain(w)]
		if l == nil || plain == nil {
			continue
		}
		l.Plain = plain.Way
		l.PeakMB = peak(doors[w])
		l.compare(plain)
		s.report.Lines = append(s.report.Lines, l)
		t.Logf("%s: %s", w.key, strings.Join(l.cells(), " | "))
	}
}

// plain is the way that w is compared with.
func (v *visit) plain(w *way) *way {
	return ways[slices.IndexFunc(ways, func(p *way) bool { return p.key == w.plain() })]
}

func log(d door) string {
	if d.g == nil {
		return ""
	}
	return "\nthe gateway's log:\n" + d.g.Log()
}

func peak(d door) float64 {
	if d.pid == 0 {
		return 0
	}
	return measure.PeakMB(d.pid)
}

// A visit is what all turns of a comparison have in common.
type visit struct {
	*stage
	*backend
	mode        string
	connections int
	rate        float64
}

// warmUp has the clusters do once what they are going to do, and finds the rate that
// is to be offered.
func (v *visit) warmUp(t *testing.T, doors map[*way]door, all []*way) {
	for _, w := range all {
		if w.plain() != w.key {
			continue
		}
		asFast := *v
		if v.mode == "offered" {
			asFast.mode = "document"
		}
		got, err := asFast.turn(t, w, doors[w], *period)
		if err != nil {
			t.Fatalf("%s: %v", w.key, err)
		}
		if v.mode == "offered" && !w.newer {
			v.rate = *share * got.PerSecond
		}
	}
}

// turn measures one way for a while, on an index of its own.
func (v *visit) turn(t *testing.T, w *way, d door, period time.Duration) (Round, error) {
	t.Helper()
	speaks, to := w.speaks(v.backend), w.to(v.backend)
	index := v.index(t, w, d)
	var between, behind float64
	l := load{
		addr: d.addr(), shot: speaks.shot(v.mode, index), connections: v.connections, warm: period / 5, period: period, rate: v.rate, patience: patience,
		begin: func() { between, behind = -work(d.pid), -work(to.pid) },
		end:   func() { between, behind = between+work(d.pid), behind+work(to.pid) },
	}
	profiled := v.profile(t, w, d, period)
	got, err := l.send(t.Context())
	profiled()
	v.remove(t, w, d, index)
	p := measure.Quantiles(got.latencies, 0.5, 0.99)
	return Round{Requests: got.requests, PerSecond: float64(got.requests) / got.took.Seconds(), P50: p[0], P99: p[1], GatewayCPU: between, ClusterCPU: behind, Load: measure.Load()}, err
}

// profile begins to profile a gateway, if it is to, and returns what waits for that.
func (v *visit) profile(t *testing.T, w *way, d door, period time.Duration) (wait func()) {
	if *profiles == "" || d.g == nil {
		return func() {}
	}
	if err := os.MkdirAll(*profiles, 0o755); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		status, profile, err := d.g.AdminRequest(t.Context(), "GET", fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(period.Seconds()))), "")
		if err == nil && status == 200 {
			err = os.WriteFile(filepath.Join(*profiles, fmt.Sprintf("%s-%s-%d-%s.pprof", v.name, v.mode, v.connections, w.key)), profile, 0o644)
		}
		if err != nil || status != 200 {
			t.Errorf("profiling %s: %d %v", w.key, status, err)
		}
	}()
	return func() { <-done }
}

// index makes an index for a turn, with what is read.
func (v *visit) index(t *testing.T, w *way, d door) string {
	t.Helper()
	v.made++
	index := fmt.Sprintf("%s-%d", v.prefix, v.made)
	if v.stubs {
		return index
	}
	speaks := w.speaks(v.backend)
	send(t, "PUT", d.url, "/"+index, speaks.index())
	if reads(v.mode) {
		send(t, "POST", d.url, "/_bulk", speaks.stock(index))
		send(t, "POST", w.to(v.backend).url, "/"+index+"/_refresh", "")
	}
	return index
}

// remove leaves the clusters with nothing to do.
func (v *visit) remove(t *testing.T, w *way, d door, index string) {
	t.Helper()
	if v.stubs {
		return
	}
	if w.applies {
		caughtUp(t, d.g)
	}
	send(t, "DELETE", d.url, "/"+index, "")
	if w.applies {
		caughtUp(t, d.g)
	}
}

func work(pid int) float64 {
	if pid == 0 {
		return 0
	}
	return measure.CPUSeconds(pid)
}

func caughtUp(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := g.WaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
}
