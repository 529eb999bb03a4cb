package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

func adminVerify(r *http.Request, on *running) (any, error) {
	o := new(replicate.VerifyOptions)
	return startJob(r, on, replicate.JobVerify, o)
}

// verifyState is the last verification, without its list; nil if there was none.
func (r *running) verifyState(ctx context.Context) *replicate.Job {
	j, ok, err := r.replication.replicator.Jobs().Job(ctx, replicate.JobVerify)
	if err != nil || !ok {
		return nil
	}
	j = withoutSamples(withVerifySteps(j))
	return &j
}

// withVerifySteps adds what there is to do about what a verification has found.
func withVerifySteps(j replicate.Job) replicate.Job {
	var p replicate.VerifyProgress
	var o replicate.VerifyOptions
	if j.State != replicate.JobDone || json.Unmarshal(j.Progress, &p) != nil || json.Unmarshal(j.Options, &o) != nil {
		return j
	}
	switch {
	case p.Left > 0 && !o.Repair:
		j.NextSteps = append(j.NextSteps, `make the follower equal: POST /esperanto/verify {"repair":true}`)
	case p.Left > 0:
		j.NextSteps = append(j.NextSteps, "look at the samples: each says why it could not be repaired")
	case p.Unsure > 0:
		j.NextSteps = append(j.NextSteps, "verify again when less is written")
	}
	return j
}

// The last verification, also while it runs.
var (
	verifyRunning    = prometheus.NewDesc("esperanto_verify_running", "Whether a verification is under way: 1 or 0.", []string{"gateway"}, nil)
	verifyDocuments  = prometheus.NewDesc("esperanto_verify_documents", "Documents that the last verification has compared.", []string{"gateway"}, nil)
	verifyMismatches = prometheus.NewDesc("esperanto_verify_mismatches", "What the last verification found to differ, by what became of it.", []string{"gateway", "result"}, nil)
)

func (r *running) collectVerify(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), sampleWait)
	defer cancel()
	j := r.verifyState(ctx)
	if j == nil {
		return
	}
	var p replicate.VerifyProgress
	if len(j.Progress) > 0 && json.Unmarshal(j.Progress, &p) != nil {
		return
	}
	under := 0.0
	if !j.State.Ended() {
		under = 1
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{r.key.name}, labels...)...)
	}
	gauge(verifyRunning, under)
	gauge(verifyDocuments, float64(p.Documents))
	gauge(verifyMismatches, float64(p.Left), "left")
	gauge(verifyMismatches, float64(p.Repaired), "repaired")
	gauge(verifyMismatches, float64(p.Unsure), "unsure")
}

// printVerifyState is the line of the status about the last verification.
func printVerifyState(out io.Writer, j *replicate.Job) {
	var p replicate.VerifyProgress
	if j == nil || (len(j.Progress) > 0 && json.Unmarshal(j.Progress, &p) != nil) {
		return
	}
	fmt.Fprintf(out, "  verify %s: %d of %d documents, %d mismatches, %d repaired, %d left%s\n",
		j.State, p.Documents, max(p.Total, p.Documents), p.Mismatches, p.Repaired, p.Left, strings.Join(append([]string{""}, notEmpty(j.Throttle, j.Error)...), "; "))
}

// The exit status of "verify".
const (
	verifyDiffers = 1 // something differs and was not repaired
	verifyUnsure  = 2 // it could not be told
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "verify",
		Usage: "[status|pause|resume|cancel] [--indices <a,b*>] [--repair] [--slices <n>] [--docs-per-second <n>] [--json] [--gateway <name>] [--address <interface>]",
		Short: "Compares both clusters document by document, and repairs",
		Long: `
Compares the follower with the master: every document (id, source, version,
routing), and mappings, settings and aliases of the indices; without --indices
also templates, pipelines and stored scripts. Writes may go on: what differs is
looked at again until it is sure.

--repair makes the follower equal, removes documents that only it has, and looks
again. Indices and definitions that only the follower has are named, and left.

The exit status is 0 if both are equal or were made so, 1 if something differs
that was not repaired, 2 if it could not be told. When the command is interrupted
the verification goes on: "verify status" shows it, "verify cancel" ends it.`,
		CobraFunc: func(cmd *cobra.Command) {
			var o replicate.VerifyOptions
			cmd.Flags().StringSliceVar(&o.Indices, "indices", nil, "Names and patterns of indices; without it all, and what belongs to none")
			cmd.Flags().BoolVar(&o.Repair, "repair", false, "Make the follower equal")
			cmd.Flags().IntVar(&o.Slices, "slices", 0, "Parts of an index that are read at a time, instead of one for each shard up to four")
			cmd.Flags().Float64Var(&o.DocsPerSecond, "docs-per-second", 0, "How fast each cluster is read at most")
			asJSON := cmd.Flags().Bool("json", false, "Print JSON, line by line")
			client := adminFlags(cmd)
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
					return exits(cmd, verifyUnsure, err)
				}
				status, err := verifyCommand(cmd, client, args, o, *asJSON)
				return exits(cmd, status, err)
			}
		},
	})
}

func verifyCommand(cmd *cobra.Command, client *adminClient, args []string, o replicate.VerifyOptions, asJSON bool) (int, error) {
	verb := ""
	if len(args) == 1 {
		verb = args[0]
	}
	switch verb {
	case "pause", "resume", "cancel":
		if err := client.tellJob(cmd, replicate.JobVerify, verb); err != nil {
			return verifyUnsure, err
		}
		return 0, nil
	case "":
		var j replicate.Job
		if err := client.do(cmd.Context(), http.MethodPost, "/esperanto/verify", o, &j); err != nil {
			return verifyUnsure, err
		}
	case "status":
	default:
		return verifyUnsure, fmt.Errorf("verify %s: it is status, pause, resume or cancel, or nothing", verb)
	}
	j, err := client.followJob(cmd, replicate.JobVerify, asJSON, verifyBar)
	if err != nil {
		return verifyUnsure, err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(j)
	} else {
		err = printVerify(cmd.OutOrStdout(), j)
	}
	if err != nil {
		return verifyUnsure, err
	}
	return verifyVerdict(j)
}

func verifyBar(progress json.RawMessage) jobBar {
	var p replicate.VerifyProgress
	_ = json.Unmarshal(progress, &p) // an older gateway's shows nothing
	text := p.Index
	if p.Mismatches > 0 {
		text = fmt.Sprintf("%s, %d mismatches", text, p.Mismatches)
	}
	return jobBar{done: p.Documents, total: p.Total, rate: p.Rate, text: text}
}

// verifyVerdict is the exit status of a verification that has ended, and why.
func verifyVerdict(j replicate.Job) (int, error) {
	var p replicate.VerifyProgress
	if len(j.Progress) > 0 {
		if err := json.Unmarshal(j.Progress, &p); err != nil {
			return verifyUnsure, fmt.Errorf("reading the verification: %w", err)
		}
	}
	switch {
	case j.State != replicate.JobDone:
		text := "the verification did not come to its end"
		if j.State == "none" {
			text = "there was no verification yet"
		}
		return verifyUnsure, errors.New(strings.Join(notEmpty(text+": "+string(j.State), j.Error), ": "))
	case p.Left > 0:
		return verifyDiffers, fmt.Errorf("%d mismatches are not repaired", p.Left)
	case p.Unsure > 0:
		return verifyUnsure, fmt.Errorf("%d documents changed whenever they were looked at; verify again when less is written", p.Unsure)
	}
	return 0, nil
}

const printedSamples = 100

func printVerify(out io.Writer, j replicate.Job) error {
	var p replicate.VerifyProgress
	if len(j.Progress) > 0 {
		if err := json.Unmarshal(j.Progress, &p); err != nil {
			return fmt.Errorf("reading the verification: %w", err)
		}
	}
	fmt.Fprintf(out, "%d documents of %d indices compared, %d of them one by one\n", p.Documents, p.IndicesDone, p.LookedAgain)
	fmt.Fprintf(out, "documents: %d missing, %d extra, %d different; indices and definitions: %d different; %d repaired, %d left\n",
		p.Missing, p.Extra, p.Different, p.State, p.Repaired, p.Left)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, m := range p.Samples {
		if i == printedSamples {
			fmt.Fprintf(t, "  … --json shows up to %d\n", len(p.Samples))
			break
		}
		name := strings.Join(notEmpty(m.Index, m.ID, m.Name), "/")
		if m.Name == m.Index {
			name = m.Index
		}
		if m.There != "" {
			name += " (" + m.There + ")"
		}
		repaired := ""
		if m.Repaired {
			repaired = "repaired"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", m.What, m.Kind, name, m.Why, repaired)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range p.NotCompared {
		fmt.Fprintf(out, "  not compared: %s\n", text)
	}
	return nil
}
