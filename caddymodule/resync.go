package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

// resyncRoutes are those of a job, but that it is asked for by the journal, and that
// to cancel it means to go on without it.
func resyncRoutes() []adminRoute {
	routes := jobRoutes(replicate.JobResync, adminResync)
	for i := range routes {
		if routes[i].path == "/esperanto/resync/cancel" {
			routes[i].handle = func(r *http.Request, on *running) (any, error) {
				return on.replication.replicator.CancelResync(r.Context())
			}
		}
	}
	return routes
}

// resyncAsked is the answer to who asks for a resync.
type resyncAsked struct {
	Indices   []string `json:"indices"`
	NextSteps []string `json:"next_steps"`
}

func adminResync(r *http.Request, on *running) (any, error) {
	var req struct {
		Indices []string `json:"indices"`
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	names, err := on.replication.replicator.Resync(r.Context(), req.Indices)
	if err != nil {
		return nil, err
	}
	return resyncAsked{names, []string{"look how it does: GET /esperanto/resync"}}, nil
}

func adminDropMember(r *http.Request, on *running) (any, error) {
	var req struct {
		Instance string `json:"instance"`
		Force    bool   `json:"force,omitempty"`
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := on.replication.replicator.DropMember(r.Context(), req.Instance, req.Force); err != nil {
		return nil, err
	}
	return req, nil
}

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "resync",
		Usage: "<index ...> | status | cancel [--json] [--gateway <name>] [--address <interface>]",
		Short: "Makes indices of the follower equal to the master's as a whole",
		Long: `
Carries over settings, mappings and aliases of the indices, copies their
documents, and removes those that only the follower has, while writes go on. The
master is not moved before all is done.

"resync status" waits for the end and shows it; "resync cancel" goes on without what
is left.`,
		CobraFunc: func(cmd *cobra.Command) {
			asJSON := cmd.Flags().Bool("json", false, "Print JSON, line by line")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.MinimumNArgs(1), func(cmd *cobra.Command, args []string) error {
				switch {
				case len(args) == 1 && args[0] == "cancel":
					return client.tellJob(cmd, replicate.JobResync, "cancel")
				case len(args) == 1 && args[0] == "status":
					return resyncStatus(cmd, client, *asJSON)
				}
				var asked resyncAsked
				if err := client.do(cmd.Context(), http.MethodPost, "/esperanto/resync", map[string][]string{"indices": args}, &asked); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), asked)
			})
		},
	})
}

// resyncStatus shows how a resync does until it ends.
func resyncStatus(cmd *cobra.Command, client *adminClient, asJSON bool) error {
	j, err := client.followJob(cmd, replicate.JobResync, asJSON, backfillBar)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(j)
	} else {
		printResync(cmd.OutOrStdout(), j)
	}
	if err == nil && j.State == replicate.JobFailed {
		err = fmt.Errorf("the resync has failed: %s", j.Error)
	}
	return err
}

func printResync(out io.Writer, j replicate.Job) {
	var p replicate.ResyncProgress
	_ = json.Unmarshal(j.Progress, &p) // there is none before it begins
	fmt.Fprintf(out, "resync %s: %d indices, %d documents: %d copied, %d were there already, %d removed, %d dead letters\n", j.State, p.IndicesDone, p.Documents, p.Copied, p.Present, p.Removed, p.Dead)
	for _, s := range p.Skipped {
		fmt.Fprintf(out, "  not done: %s: %s\n", s.Index, s.Reason)
	}
}

// printResyncState is what the status says of it.
func printResyncState(out io.Writer, s *replicate.Status) {
	var parts []string
	if s.ResyncWaiting > 0 {
		parts = append(parts, fmt.Sprintf("%d indices wait for a resync", s.ResyncWaiting))
	}
	if s.Owed > 0 {
		parts = append(parts, fmt.Sprintf("%d indices and definitions were written while the journal was down", s.Owed))
	}
	if len(parts) > 0 {
		fmt.Fprintln(out, " ", strings.Join(parts, "; "))
	}
}

// checkJournalDown looks at the option journal_down.
func (h *Handler) checkJournalDown() error {
	switch h.JournalDown {
	case "", "refuse":
	case "accept":
		if h.Target == "" {
			return &flaw{option: "journal_down", err: fmt.Errorf("journal_down has no use without a target")}
		}
	default:
		return &flaw{option: "journal_down", err: fmt.Errorf("journal_down %s: write refuse or accept", h.JournalDown)}
	}
	return nil
}

// owedFile is where a gateway keeps what is written while the journal is down: not
// where the embedded journal is, whose disk may be what is full.
func owedFile(gateway string) string {
	return filepath.Join(caddy.AppDataDir(), "esperanto-owed", fileName(gateway)+".jsonl")
}
