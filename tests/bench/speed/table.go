package speed

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
)

// A Round is what one way did while it was its turn.
type Round struct {
	Requests   int     `json:"requests"`
	PerSecond  float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	GatewayCPU float64 `json:"gateway_cpu_seconds"`
	ClusterCPU float64 `json:"cluster_cpu_seconds"`
	Load       float64 `json:"load"` // the machine's
}

// A Line is one way to a cluster with one kind of load.
type Line struct {
	Backend     string  `json:"backend"`
	Mode        string  `json:"mode"`
	Connections int     `json:"connections"`
	Way         string  `json:"way"`
	Plain       string  `json:"plain"` // the way that it is compared with: to the same cluster, without anything in between
	PeakMB      float64 `json:"peak_mb,omitempty"`
	Rounds      []Round `json:"rounds"`

	// Of all rounds: medians, and CPU seconds for 1,000 requests.
	PerSecond  float64 `json:"per_second"`
	Ratio      float64 `json:"ratio"`
	Smallest   float64 `json:"smallest_ratio"`
	Largest    float64 `json:"largest_ratio"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	AddedP50   float64 `json:"added_p50_ms"`
	AddedP99   float64 `json:"added_p99_ms"`
	GatewayCPU float64 `json:"gateway_cpu_per_1000"`
	ClusterCPU float64 `json:"cluster_cpu_per_1000"`
}

// compare fills in what follows from the rounds, each beside that of the plain way.
func (l *Line) compare(plain *Line) {
	var perSecond, ratios, p50, p99, more50, more99 []float64
	var requests, gateway, cluster float64
	for i, r := range l.Rounds {
		p := plain.Rounds[i]
		perSecond = append(perSecond, r.PerSecond)
		ratios = append(ratios, r.PerSecond/p.PerSecond)
		p50, p99 = append(p50, r.P50), append(p99, r.P99)
		more50, more99 = append(more50, r.P50-p.P50), append(more99, r.P99-p.P99)
		requests += float64(r.Requests)
		gateway += r.GatewayCPU
		cluster += r.ClusterCPU
	}
	l.PerSecond, l.Ratio = measure.Median(perSecond), measure.Median(ratios)
	l.Smallest, l.Largest = slices.Min(ratios), slices.Max(ratios)
	l.P50, l.P99 = measure.Median(p50), measure.Median(p99)
	l.AddedP50, l.AddedP99 = measure.Median(more50), measure.Median(more99)
	l.GatewayCPU, l.ClusterCPU = gateway/requests*1000, cluster/requests*1000
}

// A Report is all lines of a run, and where they are from.
type Report struct {
	Date    time.Time         `json:"date"`
	Machine string            `json:"machine"`
	Cores   int               `json:"cores"`
	Flags   map[string]string `json:"flags"`
	Pinned  bool              `json:"pinned"`
	Took    float64           `json:"took_seconds"`
	Missing []string          `json:"missing,omitempty"` // what could not be measured, and why
	Lines   []*Line           `json:"lines"`
}

// Print writes a table for each backend and mode, in Markdown.
func (r *Report) Print(w io.Writer) error {
	low, high := math.Inf(1), 0.0
	for _, l := range r.Lines {
		for _, round := range l.Rounds {
			low, high = min(low, round.Load), max(high, round.Load)
		}
	}
	fmt.Fprintf(w, "%s, %s, %d cores, load %.1f to %.1f, %.0f s", r.Date.Format(time.DateOnly), r.Machine, r.Cores, low, high, r.Took)
	if r.Pinned {
		fmt.Fprint(w, ", clusters on one core and the rest on another")
	}
	fmt.Fprintln(w)
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "Not measured: %s\n", missing)
	}
	table := func(l *Line) string { return l.Backend + ", " + l.Mode }
	lines := slices.Clone(r.Lines)
	slices.SortStableFunc(lines, func(a, b *Line) int { return cmp.Compare(r.first(table, a), r.first(table, b)) })
	var t *tabwriter.Writer
	last := ""
	for _, l := range lines {
		if title := table(l); title != last {
			if t != nil {
				t.Flush()
			}
			last = title
			fmt.Fprintf(w, "\n**%s**\n\n", title)
			t = tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
			head := []string{"way", "connections", "per second", "ratio (smallest to largest)", "p50 ms (added)", "p99 ms (added)", "CPU s/1,000: gateway", "cluster", "peak MB"}
			row(t, head)
			row(t, strings.Split(strings.TrimSpace(strings.Repeat("--- ", len(head))), " "))
		}
		row(t, l.cells())
	}
	if t == nil {
		return nil
	}
	return t.Flush()
}

// first is where the table of a line begins, so that tables keep the order in which
// they were measured.
func (r *Report) first(table func(*Line) string, l *Line) int {
	return slices.IndexFunc(r.Lines, func(other *Line) bool { return table(other) == table(l) })
}

func row(w io.Writer, cells []string) { fmt.Fprintf(w, "| %s\t|\n", strings.Join(cells, "\t| ")) }

func (l *Line) cells() []string {
	cells := []string{l.Way, fmt.Sprint(l.Connections), fmt.Sprintf("%.0f", l.PerSecond), "", fmt.Sprintf("%.2f", l.P50), fmt.Sprintf("%.2f", l.P99), "", fmt.Sprintf("%.3f", l.ClusterCPU), ""}
	if l.Way != l.Plain {
		cells[3] = fmt.Sprintf("%.2f (%.2f to %.2f)", l.Ratio, l.Smallest, l.Largest)
		cells[4] += fmt.Sprintf(" (%+.2f)", l.AddedP50)
		cells[5] += fmt.Sprintf(" (%+.2f)", l.AddedP99)
		cells[6] = fmt.Sprintf("%.3f", l.GatewayCPU)
		cells[8] = fmt.Sprintf("%.0f", l.PeakMB)
	}
	return cells
}
