package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/esperanto-es/esperanto/replicate"
)

// indices are all if nothing is said.
func (h *Handler) indices() replicate.Indices {
	if h.Indices == nil {
		return replicate.Indices{}
	}
	return *h.Indices
}

func (h *Handler) sameIndices(o *Handler) bool { return reflect.DeepEqual(h.indices(), o.indices()) }

func (h *Handler) checkIndices() error {
	i := h.indices()
	if h.Indices != nil && h.Target == "" {
		return &flaw{option: "indices", err: errors.New("indices has no use without a target")}
	}
	if err := i.Check(); err != nil {
		return &flaw{option: "indices", err: fmt.Errorf("indices: %w", err)}
	}
	if len(i.Rename) == 0 {
		return nil
	}
	switch {
	case h.Master == h.Target:
		return &flaw{option: "master", err: fmt.Errorf("master %s: applications would not find its indices, which have other names there (rename in indices); the master has to be %s", h.Master, h.Source)}
	case h.Failover > 0:
		return &flaw{option: "failover", err: fmt.Errorf("failover: %s cannot take over, since its indices have other names (rename in indices); take out one of them", h.Target)}
	case h.BothWays != "":
		return &flaw{option: "both_ways", err: errors.New("both_ways and rename in indices exclude each other; take out one of them")}
	case h.CompareReads != "" && h.CompareReads != "off":
		return &flaw{option: "compare", err: errors.New("compare reads asks both clusters the same, and the target's indices have other names (rename in indices); take out one of them")}
	}
	return nil
}

func (h *Handler) unmarshalIndices(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	h.Indices = new(replicate.Indices)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "include", "exclude":
			patterns := patternsIn(d.RemainingArgs())
			if len(patterns) == 0 {
				return d.Errf("indices: %s takes names and patterns, such as logs-*", option)
			}
			if option == "include" {
				h.Indices.Include = append(h.Indices.Include, patterns...)
			} else {
				h.Indices.Exclude = append(h.Indices.Exclude, patterns...)
			}
		case "rename":
			var r replicate.Rename
			if !d.AllArgs(&r.Pattern, &r.Name) {
				return d.Err("indices: rename takes a pattern and a name, such as logs-* {{leader_index}}-copy")
			}
			h.Indices.Rename = append(h.Indices.Rename, r)
			if err := h.Indices.Check(); err != nil {
				return d.Errf("indices: %v", err)
			}
		default:
			return d.Errf("indices: unknown option %s; the options are: include, exclude, rename", option)
		}
	}
	return nil
}

// patternsIn are patterns with spaces or commas between them.
func patternsIn(args []string) []string {
	return strings.FieldsFunc(strings.Join(args, " "), func(r rune) bool { return r == ' ' || r == ',' })
}

// printIndices says which indices are replicated, unless all are.
func printIndices(out io.Writer, s *replicate.Status) {
	if s.Indices == nil {
		return
	}
	for _, p := range []struct {
		word     string
		patterns []string
	}{{"only", s.Indices.Include}, {"not", s.Indices.Exclude}} {
		if len(p.patterns) > 0 {
			fmt.Fprintf(out, "  %s these indices are replicated: %s\n", p.word, strings.Join(p.patterns, " "))
		}
	}
	for _, r := range s.Indices.Rename {
		fmt.Fprintf(out, "  %s is called %s at the follower\n", r.Pattern, r.Name)
	}
}

func init() {
	gauges = append(gauges, stateGauge("esperanto_effects_left_out_total", "Effects that were not applied since their index is not replicated.", prometheus.CounterValue,
		func(s *replicate.Status) float64 { return float64(s.Counters.LeftOut) }))
}
