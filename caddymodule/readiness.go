package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/readiness"
)

// parseShare reads "on", "off" or "10%".
func parseShare(s string) (float64, error) {
	switch s {
	case "on":
		return 1, nil
	case "off":
		return 0, nil
	}
	number, isPercent := strings.CutSuffix(s, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !isPercent || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("%s is neither on nor off nor a share such as 10%%", s)
	}
	return percent / 100, nil
}

// checkReadiness looks for mistakes in what is looked at.
func (h *Handler) checkReadiness() error {
	if _, err := parseShare(h.Readiness); h.Readiness != "" && err != nil {
		return &flaw{option: "readiness", err: fmt.Errorf("readiness: %w", err)}
	}
	if _, err := parseShare(h.CompareReads); h.CompareReads != "" && err != nil {
		return &flaw{option: "compare", err: fmt.Errorf("compare reads: %w", err)}
	}
	if h.CompareReads != "" && h.Target == "" {
		return &flaw{option: "compare", err: errors.New("compare reads has no use without a target: there is one cluster only")}
	}
	return nil
}

// unmarshalCompare reads "compare reads 1%".
func (h *Handler) unmarshalCompare(d *caddyfile.Dispenser) error {
	var what string
	if !d.AllArgs(&what, &h.CompareReads) || what != "reads" {
		return d.Err("compare takes the word reads and a share: compare reads 1%")
	}
	return nil
}

// shares are how much of the requests is looked at, and of the reads compared.
func (h *Handler) shares() (readiness, compare float64) {
	switch {
	case h.Target == "" && h.Dialect == "":
		// The application speaks the version of the only cluster.
	case h.Readiness == "":
		readiness = 1
	default:
		readiness, _ = parseShare(h.Readiness) // it has been checked
	}
	if h.CompareReads != "" {
		compare, _ = parseShare(h.CompareReads)
	}
	return readiness, compare
}

// newReadiness makes the watch of a gateway. The application is to use the
// target, or, without one, the only cluster if the clients speak another version.
func (r *running) newReadiness(h *Handler) *readiness.Watch {
	c := readiness.Config{
		File:   filepath.Join(caddy.AppDataDir(), "esperanto-readiness", fileName(h.Name)+".json"),
		Logger: slog.New(r.log).With("gateway", h.Name),
		Lag:    func() time.Duration { return time.Duration(r.sample.get(r).LagSeconds * float64(time.Second)) },
	}
	c.To = r.clusters[h.Source]
	if h.Target != "" {
		c.To = r.clusters[h.Target]
		c.Pair = []*cluster.Cluster{r.clusters[h.Source], r.clusters[h.Target]}
	}
	return readiness.New(c)
}

// readinessReport is the report as the admin API gives it.
type readinessReport struct {
	Gateway string `json:"gateway"`
	readiness.Report
}

func adminReadiness(_ *http.Request, on *running) (any, error) {
	return readinessReport{on.key.name, on.readiness.Report()}, nil
}

func adminReadinessReset(_ *http.Request, on *running) (any, error) {
	on.readiness.Reset()
	return readinessReport{on.key.name, on.readiness.Report()}, nil
}

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "readiness",
		Usage: "[--json] [--reset] [--gateway <name>] [--address <interface>]",
		Short: "Shows what the application has to change before the gateway is taken out",
		Long: `
Shows which differences between the application's version of Elasticsearch and
the new cluster's the application's requests have met, where, and an example of
each. Values are left out of the examples.`,
		CobraFunc: func(cmd *cobra.Command) {
			asJSON := cmd.Flags().Bool("json", false, "Print JSON, with all examples")
			reset := cmd.Flags().Bool("reset", false, "Forget what was seen and begin anew")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
				return readinessCommand(cmd.Context(), cmd.OutOrStdout(), client, *asJSON, *reset)
			})
		},
	})
}

func readinessCommand(ctx context.Context, out io.Writer, client *adminClient, asJSON, reset bool) error {
	method, path := http.MethodGet, "/esperanto/readiness"
	if reset {
		method, path = http.MethodPost, path+"/reset"
	}
	var raw json.RawMessage
	if err := client.do(ctx, method, path, nil, &raw); err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, raw)
	}
	var r readinessReport
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	return printReadiness(out, &r)
}

func printReadiness(out io.Writer, r *readinessReport) error {
	fmt.Fprintf(out, "gateway %s: an application for Elasticsearch %s on %s (%s)\n", r.Gateway, orUnknown(r.From), orUnknown(r.Cluster), orUnknown(r.To))
	q := r.Requests
	fmt.Fprintf(out, "%d requests looked at since %s, %d of them need a change; %d skipped, %d too large, %d not understood\n",
		q.LookedAt, r.Since.Format(time.RFC3339), q.Needing, q.Skipped+q.Dropped, q.TooLarge, q.Unknown)
	for _, g := range []struct {
		title string
		needs []readiness.Need
	}{
		{"The application's requests: change them", r.Application},
		{"The client library: use its newer version", r.Library},
		{"Answers: does the application read these parts?", r.Answers},
	} {
		if len(g.needs) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", g.title)
		for _, n := range g.needs {
			if err := printNeed(out, n); err != nil {
				return err
			}
		}
	}
	if c := r.Compare; c != nil && (c.Share > 0 || len(c.Where) > 0) {
		if err := printComparison(out, c); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	for _, step := range r.NextSteps {
		fmt.Fprintln(out, "next:", step)
	}
	return nil
}

func printNeed(out io.Writer, n readiness.Need) error {
	fmt.Fprintf(out, "\n  %s %s (%s): %s\n", n.ID, n.Name, n.Fidelity, oneLine(n.Doc))
	if n.Loses != "" {
		fmt.Fprintf(out, "    lost: %s\n", oneLine(n.Loses))
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "    INDEX\tAPI\tREQUESTS\tREFUSED\tFIRST SEEN\tLAST SEEN")
	for _, p := range n.Where {
		fmt.Fprintf(t, "    %s\t%s\t%d\t%d\t%s\t%s\n", p.Index, p.API, p.Count, p.Refused, p.First.Format(time.RFC3339), p.Last.Format(time.RFC3339))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range n.Where {
		if p.Reason != "" {
			fmt.Fprintf(out, "    refused: %s\n", oneLine(p.Reason))
			break
		}
	}
	for _, p := range n.Where {
		if e := p.Example; e != nil {
			fmt.Fprintf(out, "    example: %s\n", e.Request)
			if e.Sent != "" {
				fmt.Fprintf(out, "    becomes: %s\n", e.Sent)
			}
			if e.Was != "" {
				fmt.Fprintf(out, "    %s: %s\n", e.At, e.Was)
			}
			if e.Becomes != "" {
				fmt.Fprintf(out, "    becomes: %s\n", e.Becomes)
			}
			break
		}
	}
	return nil
}

func printComparison(out io.Writer, c *readiness.Comparison) error {
	fmt.Fprintf(out, "\nReads on both clusters: %d equal, %d different, %d equal when asked again, %d not comparable, %d dropped\n",
		c.Equal, c.Different, c.Settled, c.NotComparable, c.Dropped)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "    INDEX\tAPI\tEQUAL\tDIFFERENT")
	for _, w := range c.Where {
		fmt.Fprintf(t, "    %s\t%s\t%d\t%d\n", w.Index, w.API, w.Equal+w.Settled, w.Different)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, w := range c.Where {
		for _, s := range w.Samples {
			fmt.Fprintf(out, "    %s %s\n", s.Request, oneLine(s.Body))
			for _, d := range s.Differences {
				fmt.Fprintf(out, "      %s: %s on the master, %s on the follower\n", d.At, orNothing(d.Master), orNothing(d.Follower))
			}
		}
	}
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return "?"
	}
	return s
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

var (
	lookedAt = prometheus.NewDesc("esperanto_readiness_requests_total",
		"Requests that the readiness report was to look at, by what became of that; begins anew when the report is reset.", []string{"gateway", "result"}, nil)
	comparedReads = prometheus.NewDesc("esperanto_compared_reads_total",
		"Reads that were asked at both clusters, by result; begins anew when the report is reset.", []string{"gateway", "result"}, nil)
)

// collectReadiness tells the figures of a gateway's report.
func (r *running) collectReadiness(to chan<- prometheus.Metric) {
	c := r.readiness.Counts()
	for _, m := range []struct {
		desc   *prometheus.Desc
		result string
		count  uint64
	}{
		{lookedAt, "looked_at", c.LookedAt}, {lookedAt, "skipped", c.Skipped}, {lookedAt, "dropped", c.Dropped},
		{lookedAt, "too_large", c.TooLarge}, {lookedAt, "unknown", c.Unknown},
		{comparedReads, "equal", c.Equal}, {comparedReads, "settled", c.Settled}, {comparedReads, "different", c.Different},
		{comparedReads, "not_comparable", c.NotComparable}, {comparedReads, "dropped", c.ComparisonDropped},
	} {
		to <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.count), r.key.name, m.result)
	}
}
