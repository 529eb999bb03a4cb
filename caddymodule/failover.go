package caddymodule

import (
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esperanto-es/esperanto/replicate"
)

// printFailoverState says whether the follower would take over.
func printFailoverState(out io.Writer, f *replicate.FailoverStatus) {
	if f == nil || f.After == 0 && f.Rejoin == "" && f.Aside == 0 {
		return
	}
	switch {
	case f.After == 0:
		fmt.Fprint(out, "  failover: only with esperanto switch --force")
	case f.Ready:
		fmt.Fprintf(out, "  failover: ready, after %g s", f.After)
	default:
		fmt.Fprintf(out, "  failover: not ready: %s", f.Reason)
	}
	if f.Down > 0 {
		fmt.Fprintf(out, "; the master has not answered for %.0f s", f.Down)
	}
	if f.Aside > 0 {
		fmt.Fprintf(out, "; %d aside", f.Aside)
	}
	fmt.Fprintln(out)
	for _, g := range f.Guess {
		fmt.Fprintf(out, "  guessed at failover: index %s, %d fields: %v\n", g.Index, g.Count, g.Fields)
	}
}

var failoverGauges = []gauge{
	stateGauge("esperanto_failover_ready", "Whether the follower would take over if the master was down: 1 or 0.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 {
			if s.Failover != nil && s.Failover.After > 0 && s.Failover.Ready {
				return 1
			}
			return 0
		}),
	stateGauge("esperanto_aside", "Documents and parts of the state that were put aside at a failover, until their cluster can be asked.", prometheus.GaugeValue,
		func(s *replicate.Status) float64 {
			if s.Failover == nil {
				return 0
			}
			return float64(s.Failover.Aside)
		}),
}

func init() { gauges = append(gauges, failoverGauges...) }
