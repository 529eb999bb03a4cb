package caddymodule

import (
	"fmt"
	"io"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "changes",
		Usage: "--from <version> --to <version> [--fidelity exact|lossy|refused] [--json]",
		Short: "Lists what is translated between two versions of Elasticsearch",
		Long: `
Lists what is different for an application that speaks one version of
Elasticsearch when its cluster is of another, and how well each difference is
translated: exact, lossy or refused.`,
		CobraFunc: func(cmd *cobra.Command) {
			from := cmd.Flags().String("from", "", "The version that the application speaks, such as 5 or 5.6.16")
			to := cmd.Flags().String("to", "", "The version of the cluster")
			fidelity := cmd.Flags().String("fidelity", "", "Only exact, lossy or refused ones")
			asJSON := cmd.Flags().Bool("json", false, "Print JSON")
			cmd.RunE = command(cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
				return changesCommand(cmd.OutOrStdout(), *from, *to, *fidelity, *asJSON)
			})
		},
	})
}

// listedChange is one change as the command prints it.
type listedChange struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Since    string `json:"since,omitempty"`
	Fidelity string `json:"fidelity"`
	Doc      string `json:"doc"`
	Loses    string `json:"loses,omitempty"`
}

func changesCommand(out io.Writer, from, to, fidelity string, asJSON bool) error {
	if from == "" || to == "" {
		return fmt.Errorf("say which versions: changes --from 5 --to 8")
	}
	client, err := esapi.ParseVersion(from)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	cluster, err := esapi.ParseVersion(to)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	switch fidelity {
	case "", "exact", "lossy", "refused":
	default:
		return fmt.Errorf("--fidelity %s: it is exact, lossy or refused", fidelity)
	}
	list := []listedChange{}
	count := map[string]int{}
	for _, c := range translate.Changes() {
		d := c.Between(client, cluster)
		if d == nil || d.Fidelity == translate.Nothing || fidelity != "" && d.Fidelity.String() != fidelity {
			continue
		}
		l := listedChange{ID: c.ID, Name: c.Name, Fidelity: d.Fidelity.String(), Doc: oneLine(c.Doc), Loses: oneLine(d.Loses)}
		if !c.Since.IsZero() {
			l.Since = c.Since.Short()
		}
		list = append(list, l)
		count[l.Fidelity]++
	}
	if asJSON {
		return printJSON(out, list)
	}
	for _, l := range list {
		fmt.Fprintf(out, "%-8s %-8s %s\n    %s\n", l.ID, l.Fidelity, l.Name, l.Doc)
		if l.Loses != "" {
			fmt.Fprintf(out, "    lost: %s\n", l.Loses)
		}
	}
	fmt.Fprintf(out, "%d changes for a %s client on a %s cluster: %d exact, %d lossy, %d refused\n",
		len(list), client, cluster, count["exact"], count["lossy"], count["refused"])
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
