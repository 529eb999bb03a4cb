package caddymodule

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestRelay(t *testing.T) {
	r := newRelay()
	log := slog.New(r).With("gateway", "g").WithGroup("x")
	log.Info("nowhere yet")
	var a, b bytes.Buffer
	r.set(slog.NewTextHandler(&a, nil))
	log.Info("first", "n", 1)
	r.set(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	log.Info("not of interest")
	log.Warn("second", "n", 2)
	if got := a.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=first gateway=g x.n=1") {
		t.Errorf("first log: %s", got)
	}
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=second gateway=g x.n=2") {
		t.Errorf("second log: %s", got)
	}
}
