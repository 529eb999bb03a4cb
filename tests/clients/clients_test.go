package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

var show = flag.String("show", "", "show the steps that match this pattern, with both results")

// releases are the versions that stand for a major.
var releases = map[int]string{5: "5.6.16", 6: "6.8.23", 7: "7.17.28", 8: "8.7.1"}

// binaries is where programs that are built lie while the tests run.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(withBinaries(m))
}

func withBinaries(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "esperanto-clients-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

// limits of what is prepared, and of one run of a program.
const (
	prepareLimit = 10 * time.Minute
	runLimit     = 10 * time.Minute
)

// TestClients runs every client at home and through the gateway.
func TestClients(t *testing.T) {
	harness.Real(t)
	expected, err := readExpected()
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := regexp.Compile(*show)
	if err != nil {
		t.Fatal(err)
	}
	s := servers{t: t, clusters: map[int]*harness.Cluster{}, gateways: map[string]string{}}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			home := s.cluster(c.major)
			through := map[int]string{}
			for _, on := range c.on {
				through[on] = s.gateway(c.major, on)
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), prepareLimit)
			defer cancel()
			program, err := c.prepare(ctx)
			if err != nil {
				t.Fatal(err)
			}
			want := transcript(t, program, home.URL(), home.Prefix(t))
			for _, l := range want {
				if l.Failed != nil {
					t.Errorf("%q fails at home: %s", l.Step, l.Failed)
				}
			}
			for _, on := range c.on {
				got := transcript(t, program, through[on], s.cluster(on).Prefix(t))
				j := judge{t, c.name, fmt.Sprintf("%d->%d", c.major, on), expected, pattern}
				j.compare(want, got)
			}
		})
	}
}

// servers are the clusters and gateways of the tests, which end with t. They are
// asked for before the tests run side by side.
type servers struct {
	t        *testing.T
	clusters map[int]*harness.Cluster
	gateways map[string]string
	binary   string
}

func (s *servers) cluster(major int) *harness.Cluster {
	if s.clusters[major] == nil {
		s.clusters[major] = harness.Elasticsearch(s.t, releases[major])
	}
	return s.clusters[major]
}

// gateway returns the address of the real binary, which speaks one major in front
// of a cluster of another one.
func (s *servers) gateway(speaks, on int) string {
	pair := fmt.Sprintf("%d->%d", speaks, on)
	if s.gateways[pair] != "" {
		return s.gateways[pair]
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), prepareLimit)
	defer cancel()
	if s.binary == "" {
		root, err := filepath.Abs("../..")
		if err != nil {
			s.t.Fatal(err)
		}
		if s.binary, err = gateway.Build(ctx, root, binaries); err != nil {
			s.t.Fatal(err)
		}
	}
	g, err := gateway.Start(ctx, gateway.Options{
		Binary: s.binary,
		Block:  fmt.Sprintf("cluster theirs {\nto %s\n}\nsource theirs\ndialect %s", s.cluster(on).URL(), releases[speaks]),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if log := complaints(g.Log()); s.t.Failed() && log != "" {
			s.t.Logf("the log of the gateway %s:\n%s", pair, log)
		}
		if err := g.Close(); err != nil {
			s.t.Error(err)
		}
	})
	s.gateways[pair] = g.URL()
	return g.URL()
}

// complaints are the lines of a log that are not of its everyday.
func complaints(log string) string {
	var rare strings.Builder
	for text := range strings.Lines(log) {
		if !strings.Contains(text, `"level":"info"`) && !strings.Contains(text, `"level":"warn"`) {
			rare.WriteString(text)
		}
	}
	return rare.String()
}

// A line is what a program tells of one step.
type line struct {
	Step   string          `json:"step"`
	Result json.RawMessage `json:"result"`
	Failed json.RawMessage `json:"failed"`
}

// transcript runs a program. Its prefix, and the address it was given, are taken
// out of what it prints.
func transcript(t *testing.T, program command, url, prefix string) []line {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program.args[0], append(program.args[1:], url, prefix)...)
	cmd.Env = append(os.Environ(), program.env...)
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(cmd.Args, " "), err, said.String(), out[max(0, len(out)-2000):])
	}
	t.Logf("%s: %.1f s", url, time.Since(began).Seconds())
	out = bytes.ReplaceAll(out, []byte(prefix), nil)
	out = bytes.ReplaceAll(out, []byte(strings.TrimPrefix(url, "http://")), []byte("ADDRESS"))
	var lines []line
	for text := range bytes.Lines(out) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil || l.Step == "" || (l.Result == nil) == (l.Failed == nil) {
			t.Fatalf("the program printed what is no step: %s", text)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		t.Fatal("the program told of no step")
	}
	return lines
}

// A judge compares what one client was told on one pair.
type judge struct {
	t        *testing.T
	client   string
	pair     string
	expected []*expectation
	show     *regexp.Regexp
}

func (j judge) compare(home, got []line) {
	through := map[string]line{}
	for _, l := range got {
		if _, twice := through[l.Step]; twice {
			j.t.Errorf("%s: there are two steps %q", j.pair, l.Step)
		}
		through[l.Step] = l
	}
	agree := 0
	for _, h := range home {
		g, there := through[h.Step]
		var found []string
		switch {
		case !there:
			found = []string{"the step is missing"}
		case g.Failed != nil:
			found = []string{"fails: " + short(g.Failed)}
		default:
			found = differences(h.Result, g.Result)
		}
		if len(found) == 0 {
			agree++
		}
		j.judge(h, g, found)
		delete(through, h.Step)
	}
	for step := range through {
		j.t.Errorf("%s: %q is no step at home", j.pair, step)
	}
	j.t.Logf("%s: %d of %d steps agree", j.pair, agree, len(home))
}

func (j judge) judge(home, got line, found []string) {
	known := find(j.expected, j.client, j.pair, home.Step)
	details := ""
	if *show != "" && j.show.MatchString(home.Step) {
		details = fmt.Sprintf("\n  home    %s\n  gateway %s%s", home.Result, got.Result, got.Failed)
		if len(found) == 0 || known != nil {
			j.t.Logf("%s %q%s", j.pair, home.Step, details)
		}
	}
	switch {
	case len(found) == 0 && known != nil:
		j.t.Errorf("%s %q agrees, but expected.txt:%d says that it does not: remove %s there", j.pair, home.Step, known.line, j.client)
	case len(found) > 0 && known == nil:
		j.t.Errorf("%s %q differs\n  %s%s", j.pair, home.Step, strings.Join(found, "\n  "), details)
	}
}
