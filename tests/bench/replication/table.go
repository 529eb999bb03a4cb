package replication

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
)

// A Figure is one line of the table.
type Figure struct {
	Name    string  `json:"name"`
	Setting string  `json:"setting"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`

	// Plain is what Value is compared with, measured in turn with it. Ratio is the
	// median over the rounds; 0 if there is nothing to compare with.
	Plain float64 `json:"plain,omitempty"`
	Ratio float64 `json:"ratio,omitempty"`

	Note string  `json:"note,omitempty"`
	Load float64 `json:"load"` // the machine's, when this was measured
}

// A Report is all figures of a run, and where they are from.
type Report struct {
	Date    time.Time         `json:"date"`
	Machine string            `json:"machine"`
	Cores   int               `json:"cores"`
	Source  string            `json:"source"`
	Target  string            `json:"target"`
	Flags   map[string]string `json:"flags"`
	Took    float64           `json:"took_seconds"`
	Figures []Figure          `json:"figures"`
}

// Print writes the table.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %d cores, %s -> %s, %.0f s\n\n", r.Date.Format(time.DateOnly), r.Machine, r.Cores, r.Source, r.Target, r.Took)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tsetting\tvalue\tunit\tplain\tratio\tload\tnote")
	for _, f := range r.Figures {
		plain, ratio := "", ""
		if f.Ratio != 0 {
			plain, ratio = measure.Number(f.Plain), fmt.Sprintf("%.2f", f.Ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%s\n", f.Name, f.Setting, measure.Number(f.Value), f.Unit, plain, ratio, f.Load, f.Note)
	}
	return t.Flush()
}

// A comparison is what was measured in rounds, each beside what it is compared
// with.
type comparison struct{ value, plain []float64 }

func (c *comparison) add(value, plain float64) {
	c.value, c.plain = append(c.value, value), append(c.plain, plain)
}

// figure takes the medians over the rounds.
func (c *comparison) figure(name, setting, unit string) Figure {
	ratios := make([]float64, len(c.value))
	for i := range ratios {
		ratios[i] = c.value[i] / c.plain[i]
	}
	return Figure{Name: name, Setting: setting, Value: measure.Median(c.value), Plain: measure.Median(c.plain), Unit: unit, Ratio: measure.Median(ratios),
		Note: fmt.Sprintf("%d rounds, ratios %.2f to %.2f", len(ratios), slices.Min(ratios), slices.Max(ratios))}
}
