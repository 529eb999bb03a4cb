package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "status",
		Usage: "[--json] [--gateway <name>] [--address <interface>]",
		Short: "Shows master, follower, backlog and what there is to do",
		CobraFunc: func(cmd *cobra.Command) {
			asJSON := cmd.Flags().Bool("json", false, "Print JSON")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
				return statusCommand(cmd.Context(), cmd.OutOrStdout(), client, *asJSON)
			})
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "switch",
		Usage: "<cluster> [--dry-run] [--force] [--json] [--gateway <name>] [--address <interface>]",
		Short: "Makes another cluster the master",
		Long: `
Makes another cluster the master. Writes wait until the follower has everything
that was written, at most switch_timeout; reads go on. If that is not possible
everything stays as it is, and the exit status is 1.

With --force the other cluster takes over although the master is down: what has to be
asked of the master is put aside until it is back. It is refused while the master
answers.`,
		CobraFunc: func(cmd *cobra.Command) {
			dryRun := cmd.Flags().Bool("dry-run", false, "Only say whether it is possible now")
			force := cmd.Flags().Bool("force", false, "The master is down: let the other cluster take over")
			asJSON := cmd.Flags().Bool("json", false, "Print JSON")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
				return switchCommand(cmd, client, replicate.SwitchRequest{Master: args[0], DryRun: *dryRun, Failover: *force}, *asJSON)
			})
		},
	})
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "dead-letters",
		Usage: "[list|retry|drop] [<key>...] [--all] [--gateway <name>] [--address <interface>]",
		Short: "Lists, retries or drops what the follower rejects",
		CobraFunc: func(cmd *cobra.Command) {
			all := cmd.Flags().Bool("all", false, "Retry or drop all of them")
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.ArbitraryArgs, func(cmd *cobra.Command, args []string) error {
				return lettersCommand(cmd.Context(), cmd.OutOrStdout(), client, args, *all)
			})
		},
	})
}

// command runs f and shows its error as it is.
func command(args cobra.PositionalArgs, f func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		err := args(cmd, given)
		if err == nil {
			cmd.SilenceUsage = true
			err = f(cmd, given)
		}
		if err != nil {
			cmd.SilenceErrors = true
			fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
		}
		return err
	}
}

// An adminClient talks to the admin endpoint of a running process.
type adminClient struct {
	address, config, adapter, gateway string
}

func adminFlags(cmd *cobra.Command) *adminClient {
	c := new(adminClient)
	cmd.Flags().StringVar(&c.address, "address", "", "The address of the admin endpoint, if not the default")
	cmd.Flags().StringVarP(&c.config, "config", "c", "", "The configuration file to take the address from")
	cmd.Flags().StringVarP(&c.adapter, "adapter", "a", "", "The name of the file's config adapter")
	cmd.Flags().StringVar(&c.gateway, "gateway", "", "The name of the gateway, if there are several")
	return c
}

// do asks the admin endpoint and reads its answer into to. A refused
// switchover is a *refused.
func (c *adminClient) do(ctx context.Context, method, path string, body, to any) error {
	text, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	address, err := caddy.ParseNetworkAddress(text)
	if err != nil || address.PortRangeSize() > 1 {
		return fmt.Errorf("%s is no address of an admin endpoint", text)
	}
	host := address.JoinHostPort(0)
	origin := "http://" + host
	if address.IsUnixNetwork() || address.IsFdNetwork() {
		origin = "http://127.0.0.1" // only for the form of the request
	}
	if c.gateway != "" {
		sign := "?"
		if strings.Contains(path, "?") {
			sign = "&"
		}
		path += sign + "gateway=" + url.QueryEscape(c.gateway)
	}
	var sent io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, origin+path, sent)
	if err != nil {
		return err
	}
	req.Header.Set("Origin", origin)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network, host)
		},
	}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the admin endpoint %s does not answer; is the gateway running? --address names another endpoint: %w", text, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading the answer of the admin endpoint: %w", err)
	}
	if res.StatusCode >= 400 {
		r := new(refused)
		if err := json.Unmarshal(raw, r); err != nil || r.Error == "" {
			return fmt.Errorf("the admin endpoint answers %s: %s", res.Status, bytes.TrimSpace(raw))
		}
		if res.StatusCode != http.StatusConflict {
			return errors.New(r.Error)
		}
		return &refusedError{*r}
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("the admin endpoint answers with something else than JSON: %w", err)
	}
	return nil
}

type refusedError struct{ refused }

func (r *refusedError) Error() string {
	text := r.refused.Error + ": " + r.Reason
	for _, step := range r.NextSteps {
		text += "\n  next: " + step
	}
	return text
}

func statusCommand(ctx context.Context, out io.Writer, client *adminClient, asJSON bool) error {
	var raw json.RawMessage
	if err := client.do(ctx, http.MethodGet, "/esperanto/status", nil, &raw); err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, raw)
	}
	var s statusAnswer
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("reading the status: %w", err)
	}
	fmt.Fprintf(out, "gateway %s: master %s, epoch %d\n", s.Gateway, s.Master, s.Epoch)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range s.Clusters {
		version := c.Version
		if version == "" {
			version = "version unknown"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", c.Name, c.Role, version, c.Health, c.Reason)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(s.Clusters) > 1 {
		fmt.Fprintf(out, "  backlog %d records, lag %.1f s, open intents %d, dead letters %d, applier %s\n",
			s.Backlog, s.LagSeconds, s.OpenIntents, s.DeadLetters, s.Applier.State)
	}
	printRoles(out, &s.Status)
	printIndices(out, &s.Status)
	printFailoverState(out, s.Failover)
	printVerifyState(out, s.Verify)
	printBackfillState(out, s.Backfill)
	printResyncState(out, &s.Status)
	if s.Switching {
		fmt.Fprintf(out, "  the master is being moved; %d writes wait\n", s.WritesWaiting)
	}
	for _, step := range s.NextSteps {
		fmt.Fprintf(out, "  next: %s\n", step)
	}
	return nil
}

func switchCommand(cmd *cobra.Command, client *adminClient, req replicate.SwitchRequest, asJSON bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if !asJSON && !req.DryRun {
		go showProgress(ctx, cmd.ErrOrStderr(), client)
	}
	var res replicate.SwitchResult
	err := client.do(ctx, http.MethodPost, "/esperanto/switchover", req, &res)
	cancel()
	var no *refusedError
	if asJSON && errors.As(err, &no) {
		return errors.Join(printJSON(cmd.OutOrStdout(), no.refused), err)
	}
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		return printJSON(cmd.OutOrStdout(), res)
	case req.DryRun:
		fmt.Fprintf(cmd.OutOrStdout(), "possible: the master would be %s, epoch %d\n", res.Master, res.Epoch)
	default:
		fmt.Fprintf(cmd.OutOrStdout(), "master %s, epoch %d; writes waited %.0f ms\n", res.Master, res.Epoch, res.PauseMS)
	}
	return nil
}

// showProgress tells what a switchover waits for, if it takes long.
func showProgress(ctx context.Context, out io.Writer, client *adminClient) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		var s replicate.Status
		if err := client.do(ctx, http.MethodGet, "/esperanto/status", nil, &s); err == nil {
			fmt.Fprintf(out, "the follower has %d records to go, %.1f s behind; %d writes wait\n", s.Backlog, s.LagSeconds, s.WritesWaiting)
		}
	}
}

func lettersCommand(ctx context.Context, out io.Writer, client *adminClient, args []string, all bool) error {
	verb := "list"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "list":
		return listLetters(ctx, out, client)
	case "retry", "drop":
		if all == (len(args) > 0) {
			return fmt.Errorf("name dead letters by their keys, or all of them by --all: dead-letters %s <key>...", verb)
		}
		var res map[string]int
		if err := client.do(ctx, http.MethodPost, "/esperanto/dead_letters/"+verb, letterRequest{IDs: args, All: all}, &res); err != nil {
			return err
		}
		if verb == "drop" {
			fmt.Fprintf(out, "%d dropped\n", res["dropped"])
			return nil
		}
		fmt.Fprintf(out, "%d done, %d left\n", res["done"], res["left"])
		if res["left"] > 0 {
			return fmt.Errorf("the follower still rejects %d; dead-letters list says why", res["left"])
		}
		return nil
	}
	return fmt.Errorf("dead-letters %s: it is list, retry or drop", verb)
}

func listLetters(ctx context.Context, out io.Writer, client *adminClient) error {
	for after := ""; ; {
		var page struct {
			DeadLetters []replicate.DeadLetter `json:"dead_letters"`
			After       string                 `json:"next_after"`
		}
		if err := client.do(ctx, http.MethodGet, "/esperanto/dead_letters?after="+url.QueryEscape(after), nil, &page); err != nil {
			return err
		}
		for _, l := range page.DeadLetters {
			what := l.Index + "/" + l.ID
			if l.What != "" {
				what = strings.TrimSpace(l.What + " " + l.Index)
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", l.Key, l.Time.Format(time.RFC3339), what, l.Reason)
		}
		if page.After == "" {
			return nil
		}
		after = page.After
	}
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
