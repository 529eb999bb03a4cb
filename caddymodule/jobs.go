package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

// jobRoutes are the ways to a long job:
//
//	GET  /esperanto/<kind>
//	POST /esperanto/<kind>          its options
//	POST /esperanto/<kind>/pause
//	POST /esperanto/<kind>/resume
//	POST /esperanto/<kind>/cancel
func jobRoutes(kind string, start func(r *http.Request, on *running) (any, error)) []adminRoute {
	path := "/esperanto/" + kind
	routes := []adminRoute{
		{http.MethodGet, path, func(r *http.Request, on *running) (any, error) { return showJob(r.Context(), on, kind) }},
		{http.MethodPost, path, start},
	}
	for verb, tell := range map[string]func(*replicate.Jobs, context.Context, string) (replicate.Job, error){
		"pause": (*replicate.Jobs).Pause, "resume": (*replicate.Jobs).Resume, "cancel": (*replicate.Jobs).Cancel,
	} {
		routes = append(routes, adminRoute{http.MethodPost, path + "/" + verb, func(r *http.Request, on *running) (any, error) {
			return tell(on.replication.replicator.Jobs(), r.Context(), kind)
		}})
	}
	return routes
}

func showJob(ctx context.Context, on *running, kind string) (any, error) {
	j, ok, err := on.replication.replicator.Jobs().Job(ctx, kind)
	if err == nil && !ok {
		return replicate.Job{Kind: kind, State: "none", NextSteps: []string{"start one: POST /esperanto/" + kind}}, nil
	}
	if kind == replicate.JobVerify {
		j = withVerifySteps(j)
	}
	return j, err
}

// startJob starts a job with the options in a request's body, if there is one.
func startJob(r *http.Request, on *running, kind string, options any) (any, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields() // a misspelt option must not copy or compare more than was meant
		err = d.Decode(options)
	}
	if err != nil {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("the body is not the JSON that is expected: %w", err))
	}
	return on.replication.replicator.Jobs().Start(r.Context(), kind, options)
}

const (
	jobPoll  = 500 * time.Millisecond // how often a command asks how a job does
	jobLines = 2 * time.Second        // how often it prints that, where there is no terminal
)

// jobBar is what a progress bar shows of a job.
type jobBar struct {
	done, total int64
	rate        float64 // documents per second, as the job measures it: the command may have come late
	text        string
}

// speed says how fast a job is, and how long it will take.
func (b *jobBar) speed() string {
	if b.rate <= 0 {
		return ""
	}
	text := fmt.Sprintf("%.0f docs/s", b.rate)
	if left := b.total - b.done; left > 0 {
		text += fmt.Sprintf(", %s left", time.Duration(float64(left)/b.rate*float64(time.Second)).Round(time.Second))
	}
	return text
}

// followJob shows how a job does until it ends: a bar on a terminal, else a line
// of JSON every now and then and at the end. If the command is interrupted the
// job goes on.
func (c *adminClient) followJob(cmd *cobra.Command, kind string, asJSON bool, bar func(progress json.RawMessage) jobBar) (replicate.Job, error) {
	ctx := cmd.Context()
	var shown *progressbar.ProgressBar
	out := cmd.ErrOrStderr()
	if f, ok := out.(*os.File); ok && !asJSON && isatty.IsTerminal(f.Fd()) {
		shown = progressbar.NewOptions64(1, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	var printed time.Time
	for failures := 0; ; {
		var j replicate.Job
		err := c.do(ctx, http.MethodGet, "/esperanto/"+kind, nil, &j)
		if err != nil {
			// The gateway may be starting again: the job goes on then.
			if failures++; failures > 60 || ctx.Err() != nil {
				return replicate.Job{}, fmt.Errorf("the %s goes on in the gateway; ask for it by: esperanto %[1]s status: %w", kind, err)
			}
		} else {
			failures = 0
			if j.State.Ended() {
				if shown != nil {
					_ = shown.Finish()
				}
				return j, nil
			}
			at := bar(j.Progress)
			if shown != nil {
				shown.ChangeMax64(max(at.total, at.done, 1))
				shown.Describe(strings.Join(notEmpty(at.text, at.speed(), string(pausedOnly(j.State)), j.Throttle), ", "))
				_ = shown.Set64(at.done)
			} else if time.Since(printed) >= jobLines {
				printed = time.Now()
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(withoutSamples(j)); err != nil {
					return j, err
				}
			}
		}
		select {
		case <-time.After(jobPoll):
		case <-ctx.Done():
		}
	}
}

func pausedOnly(s replicate.JobState) replicate.JobState {
	if s == replicate.JobPaused {
		return s
	}
	return ""
}

func notEmpty(list ...string) (kept []string) {
	for _, s := range list {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// withoutSamples leaves the long list out that is printed at the end.
func withoutSamples(j replicate.Job) replicate.Job {
	var progress map[string]json.RawMessage
	if json.Unmarshal(j.Progress, &progress) == nil {
		delete(progress, "samples")
		if raw, err := json.Marshal(progress); err == nil {
			j.Progress = raw
		}
	}
	return j
}

// tellJob has a job pause, go on or end.
func (c *adminClient) tellJob(cmd *cobra.Command, kind, verb string) error {
	var j replicate.Job
	if err := c.do(cmd.Context(), http.MethodPost, "/esperanto/"+kind+"/"+verb, nil, &j); err != nil {
		return err
	}
	return printJSON(cmd.OutOrStdout(), j)
}

// exits ends a command with a status, and shows why.
func exits(cmd *cobra.Command, status int, err error) error {
	if err != nil {
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, err })(cmd, nil)
}

// jobRefused answers that a job was not started, stopped or gone on with.
func jobRefused(w http.ResponseWriter, err error) (answered bool, failed error) {
	no := new(replicate.JobError)
	if !errors.As(err, &no) {
		return false, nil
	}
	return true, writeJSON(w, http.StatusConflict, refused{Error: "it was not done", SwitchError: replicate.SwitchError{Reason: no.Reason, NextSteps: no.NextSteps}})
}
