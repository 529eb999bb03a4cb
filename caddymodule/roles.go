package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/esperanto-es/esperanto/replicate"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "apply",
		Usage: "running|paused [--gateway <name>] [--address <interface>]",
		Short: "Has the applier go on, or pause",
		CobraFunc: func(cmd *cobra.Command) {
			client := adminFlags(cmd)
			cmd.RunE = command(cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
				return applyCommand(cmd.Context(), cmd.OutOrStdout(), client, args[0])
			})
		},
	})
}

func applyCommand(ctx context.Context, out io.Writer, client *adminClient, state string) error {
	var now struct {
		State string `json:"state"`
	}
	if err := client.do(ctx, http.MethodPost, "/esperanto/apply", map[string]string{"state": state}, &now); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "the applier is %s\n", now.State)
	return err
}

// checkRoles looks at apply and capture.
func (h *Handler) checkRoles() error {
	switch {
	case !slices.Contains([]string{"", "on", "off", "paused"}, h.Apply):
		return &flaw{option: "apply", err: fmt.Errorf("apply %s: write on, off or paused", h.Apply)}
	case !slices.Contains([]string{"", "on", "off"}, h.Capture):
		return &flaw{option: "capture", err: fmt.Errorf("capture %s: write on or off", h.Capture)}
	case h.Apply != "" && h.Target == "":
		return &flaw{option: "apply", err: errors.New("apply has no use without a target")}
	case h.Capture != "" && h.Target == "":
		return &flaw{option: "capture", err: errors.New("capture has no use without a target")}
	case h.Capture == "off" && h.Apply == "off":
		return &flaw{option: "capture", err: errors.New("with capture off and apply off the gateway has nothing to do; leave one of them out")}
	case h.Capture == "off" && h.JournalDown == "accept":
		return &flaw{option: "journal_down", err: errors.New("journal_down accept has no use with capture off: there are no writes to accept")}
	}
	return nil
}

// checkJournal looks at what only the journal tells.
func (h *Handler) checkJournal(j *Journal) error {
	if h.Apply == "off" && len(j.Brokers) == 0 {
		return &flaw{option: "apply", err: errors.New("apply off needs a journal in Kafka: nobody else can apply what stands in the embedded one; add \"journal { brokers <host:port> }\" to the global option esperanto, or write apply on")}
	}
	return nil
}

// sameRoles reports whether a gateway that runs with o can go on with h. Whether the
// applier begins paused is asked only once.
func (h *Handler) sameRoles(o *Handler) bool {
	return (h.Apply == "off") == (o.Apply == "off") && (h.Capture == "off") == (o.Capture == "off") && h.BothWays == o.BothWays
}

// noWrites is the answer to writes of a gateway that takes none.
func (h *Handler) noWrites() error {
	if h.Capture == "off" {
		return replicate.ErrNoCapture
	}
	return nil
}

// A Throttle bounds how fast the applier writes to the follower.
type Throttle struct {
	// Documents per second. Default: no bound.
	DocsPerSecond float64 `json:"docs_per_second,omitempty"`

	// Bytes of documents per second. Default: no bound.
	BytesPerSecond float64 `json:"bytes_per_second,omitempty"`
}

func (h *Handler) throttle() replicate.Throttle {
	if h.Throttle == nil {
		return replicate.Throttle{}
	}
	return replicate.Throttle(*h.Throttle)
}

func (h *Handler) checkThrottle() error {
	t := h.throttle()
	switch {
	case h.Throttle != nil && h.Target == "":
		return &flaw{option: "throttle", err: errors.New("throttle has no use without a target")}
	case h.Throttle != nil && h.Apply == "off":
		return &flaw{option: "throttle", err: errors.New("throttle has no use with apply off: it is the applier's; give it to the gateways that apply")}
	case !(t.DocsPerSecond >= 0 && t.DocsPerSecond <= math.MaxInt32) || !(t.BytesPerSecond >= 0 && t.BytesPerSecond <= math.MaxInt64/2):
		return &flaw{option: "throttle", err: errors.New("throttle: docs_per_second and bytes_per_second are positive numbers")}
	}
	return nil
}

func (h *Handler) unmarshalThrottle(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	h.Throttle = new(Throttle)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option, value := d.Val(), ""
		switch option {
		case "docs_per_second", "bytes_per_second":
			if !d.AllArgs(&value) {
				return d.Errf("throttle: %s takes exactly one value", option)
			}
		}
		switch option {
		case "docs_per_second":
			n, err := strconv.ParseFloat(value, 64)
			if err != nil || !(n > 0) || n > math.MaxInt32 {
				return d.Errf("throttle: docs_per_second %s: write a positive number", value)
			}
			h.Throttle.DocsPerSecond = n
		case "bytes_per_second":
			n, err := humanize.ParseBytes(value)
			if err != nil || n == 0 || n > math.MaxInt64/2 {
				return d.Errf("throttle: bytes_per_second %s: write a size such as 5MB", value)
			}
			h.Throttle.BytesPerSecond = float64(n)
		default:
			return d.Errf("throttle: unknown option %s; the options are: docs_per_second, bytes_per_second", option)
		}
	}
	return nil
}

// printRoles shows what the processes do, where they differ, and what slows the applier
// down.
func printRoles(out io.Writer, s *replicate.Status) {
	names := func(r replicate.Roles) string {
		switch {
		case r.Capture && r.Apply:
			return "captures and applies"
		case r.Capture:
			return "captures"
		}
		return "applies"
	}
	differ := false
	for _, m := range s.Members {
		differ = differ || m.Roles != s.Roles
	}
	if len(s.Clusters) > 1 && (differ || s.Roles != replicate.Roles{Capture: true, Apply: true}) {
		fmt.Fprintf(out, "  this gateway %s\n", names(s.Roles))
		for _, m := range s.Members {
			if !m.This {
				fmt.Fprintf(out, "  gateway %s on %s %s\n", m.Instance, m.Host, names(m.Roles))
			}
		}
	}
	if s.Throttle != "" {
		fmt.Fprintf(out, "  throttled: %s\n", s.Throttle)
	}
}
