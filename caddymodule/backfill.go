package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

func adminBackfill(r *http.Request, on *running) (any, error) {
	var o replicate.BackfillOptions
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields() // a misspelt option must not copy more than was meant
		err = d.Decode(&o)
	}
	if err != nil {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("the body is not the JSON that is expected: %w", err))
	}
	return on.replication.replicator.StartBackfill(r.Context(), o)
}

// The last backfill, also while it runs.
var (
	backfillRunning   = prometheus.NewDesc("esperanto_backfill_running", "Whether a backfill is under way: 1 or 0.", []string{"gateway"}, nil)
	backfillThrottled = prometheus.NewDesc("esperanto_backfill_throttled", "Whether the backfill is slower than it could be: 1 or 0.", []string{"gateway"}, nil)
	backfillDocuments = prometheus.NewDesc("esperanto_backfill_documents", "Documents of the last backfill, by what became of them.", []string{"gateway", "result"}, nil)
	backfillLeft      = prometheus.NewDesc("esperanto_backfill_documents_left", "Documents that the backfill has not come to.", []string{"gateway"}, nil)
	backfillBytes     = prometheus.NewDesc("esperanto_backfill_bytes", "Bytes of documents that the last backfill has copied.", []string{"gateway"}, nil)
)

func describeBackfill(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backfillRunning, backfillThrottled, backfillDocuments, backfillLeft, backfillBytes} {
		to <- d
	}
}

func collectBackfill(to chan<- prometheus.Metric, gateway string, j *replicate.Job) {
	if j == nil {
		return
	}
	p := backfillProgress(j.Progress)
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{gateway}, labels...)...)
	}
	under, left := 0.0, 0.0
	if !j.State.Ended() {
		under, left = 1, float64(max(0, p.Total-p.Documents))
	}
	gauge(backfillRunning, under)
	gauge(backfillLeft, left)
	throttled := 0.0
	if j.Throttle != "" {
		throttled = 1
	}
	gauge(backfillThrottled, throttled)
	gauge(backfillBytes, float64(p.Bytes))
	gauge(backfillDocuments, float64(p.Copied), "copied")
	gauge(backfillDocuments, float64(p.Present), "present")
	gauge(backfillDocuments, float64(p.Gone), "gone")
	gauge(backfillDocuments, float64(p.Dead), "dead")
}

func backfillProgress(raw json.RawMessage) (p replicate.BackfillProgress) {
	_ = json.Unmarshal(raw, &p) // there is none before it begins
	return p
}

// printBackfillState is the line of the status about the last backfill.
func printBackfillState(out io.Writer, j *replicate.Job) {
	if j == nil {
		return
	}
	p := backfillProgress(j.Progress)
	fmt.Fprintf(out, "  backfill %s: %s\n", j.State, strings.Join(append([]string{
		fmt.Sprintf("%d of %d documents, %d of %d indices, %.0f docs/s", p.Documents, max(p.Total, p.Documents), p.IndicesDone, p.Indices, p.Rate)},
		notEmpty(j.Throttle, j.Error)...), "; "))
}

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "backfill",
		Usage: "[status|pause|resume|cancel] [--indices <a,b*>] [--query <JSON>] [--docs-per-second <n>] [--bytes-per-second <n>] [--slices <n>] [--detach] [--json] [--gateway <name>] [--address <interface>]",
		Short: "Copies what the master had before to the follower",
		Long: `
Copies documents that were there before the second cluster was named, while
writes go on: for each index its settings, mappings and aliases, then its
documents; without --indices also templates, pipelines and stored scripts. If a
backfill is under way already, its progress is shown.

It goes on after a restart of the gateway, and when this command is interrupted:
"backfill status" shows it, "backfill cancel" ends it. The exit status is 1 if
not everything was copied.`,
		CobraFunc: func(cmd *cobra.Command) {
			var o replicate.BackfillOptions
			cmd.Flags().StringSliceVar(&o.Indices, "indices", nil, "Names and patterns of indices; without it all but the system's, and what belongs to none")
			query := cmd.Flags().String("query", "", "Which documents, as a search of the master has its query")
			cmd.Flags().Float64Var(&o.DocsPerSecond, "docs-per-second", 0, "How many documents a second are copied at most")
			cmd.Flags().Float64Var(&o.BytesPerSecond, "bytes-per-second", 0, "How many bytes of documents a second are copied at most")
			cmd.Flags().IntVar(&o.Slices, "slices", 0, "Parts of indices that are copied at a time, instead of 4")
			detach := cmd.Flags().Bool("detach", false, "Do not wait for its end")
			asJSON := cmd.Flags().Bool("json", false, "Print JSON, line by line")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.MaximumNArgs(1), func(cmd *cobra.Command, args []string) error {
				if o.Query = json.RawMessage(*query); *query != "" && !json.Valid(o.Query) {
					return fmt.Errorf("--query %s is not JSON", *query)
				}
				verb := ""
				if len(args) == 1 {
					verb = args[0]
				}
				return backfillCommand(cmd, client, verb, o, *detach, *asJSON)
			})
		},
	})
}

func backfillCommand(cmd *cobra.Command, client *adminClient, verb string, o replicate.BackfillOptions, detach, asJSON bool) error {
	switch verb {
	case "pause", "resume", "cancel":
		return client.tellJob(cmd, replicate.JobBackfill, verb)
	case "status":
	case "":
		j, err := startOrFind(cmd, client, o)
		if err != nil {
			return err
		}
		if detach {
			return printJSON(cmd.OutOrStdout(), j)
		}
	default:
		return fmt.Errorf("backfill %s: it is status, pause, resume or cancel, or nothing", verb)
	}
	j, err := client.followJob(cmd, replicate.JobBackfill, asJSON, backfillBar)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(j)
	} else {
		printBackfill(cmd.OutOrStdout(), j)
	}
	return errors.Join(err, backfillVerdict(j))
}

// startOrFind starts a backfill, or finds the one that is under way.
func startOrFind(cmd *cobra.Command, client *adminClient, o replicate.BackfillOptions) (j replicate.Job, err error) {
	if err := client.do(cmd.Context(), http.MethodGet, "/esperanto/backfill", nil, &j); err != nil {
		return j, err
	}
	if j.State.Ended() || j.State == "none" {
		j = replicate.Job{}
		return j, client.do(cmd.Context(), http.MethodPost, "/esperanto/backfill", o, &j)
	}
	var its replicate.BackfillOptions
	if err := json.Unmarshal(j.Options, &its); err != nil {
		return j, fmt.Errorf("reading the options of the backfill that is under way: %w", err)
	}
	if none := (replicate.BackfillOptions{}); !sameOptions(o, none) && !sameOptions(o, its) {
		return j, fmt.Errorf("a backfill with other options is under way: %s; wait for it (esperanto backfill status), or cancel it (esperanto backfill cancel)", j.Options)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "a backfill is under way, since", j.Started.Format(time.DateTime))
	return j, nil
}

func sameOptions(a, b replicate.BackfillOptions) bool {
	var qa, qb any
	_ = json.Unmarshal(a.Query, &qa)
	_ = json.Unmarshal(b.Query, &qb)
	a.Query, b.Query = nil, nil
	return reflect.DeepEqual(a, b) && reflect.DeepEqual(qa, qb)
}

func backfillBar(progress json.RawMessage) jobBar {
	p := backfillProgress(progress)
	var names []string
	for _, i := range p.Working {
		names = append(names, i.Index)
	}
	text := strings.Join(names, " ")
	if len(names) > 2 {
		text = fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return jobBar{done: p.Documents, total: p.Total, rate: p.Rate, text: text}
}

func printBackfill(out io.Writer, j replicate.Job) {
	p := backfillProgress(j.Progress)
	fmt.Fprintf(out, "backfill %s: %d of %d indices, %d documents in %s\n", j.State, p.IndicesDone, p.Indices, p.Documents, time.Duration(p.Seconds*float64(time.Second)).Round(time.Second/10))
	fmt.Fprintf(out, "documents: %d copied, %d were there already, %d deleted meanwhile, %d dead letters\n", p.Copied, p.Present, p.Gone, p.Dead)
	for _, s := range p.Skipped {
		fmt.Fprintf(out, "  not copied: %s: %s\n", s.Index, s.Reason)
	}
	for _, step := range j.NextSteps {
		fmt.Fprintf(out, "  next: %s\n", step)
	}
}

// backfillVerdict is why not everything was copied, nil if it was.
func backfillVerdict(j replicate.Job) error {
	p := backfillProgress(j.Progress)
	switch {
	case j.State == "none":
		return errors.New("there was no backfill yet")
	case j.State != replicate.JobDone:
		return errors.New(strings.Join(notEmpty("the backfill is "+string(j.State), j.Error), ": "))
	case p.Dead > 0:
		return fmt.Errorf("%d documents are dead letters; esperanto dead-letters shows why", p.Dead)
	}
	return nil
}
