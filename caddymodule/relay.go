package caddymodule

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// A relay is a slog.Handler in front of one that changes: what runs over
// changes of the configuration logs to the newest configuration's log.
type relay struct {
	to    *atomic.Pointer[slog.Handler]
	adapt func(slog.Handler) slog.Handler // adds this logger's attributes and groups
}

func newRelay() relay {
	return relay{new(atomic.Pointer[slog.Handler]), func(h slog.Handler) slog.Handler { return h }}
}

func (r relay) set(h slog.Handler) { r.to.Store(&h) }

func (r relay) now() slog.Handler {
	if h := r.to.Load(); h != nil {
		return r.adapt(*h)
	}
	return slog.DiscardHandler
}

// Enabled implements slog.Handler.
func (r relay) Enabled(ctx context.Context, l slog.Level) bool {
	h := r.to.Load()
	return h != nil && (*h).Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (r relay) Handle(ctx context.Context, rec slog.Record) error { return r.now().Handle(ctx, rec) }

// WithAttrs implements slog.Handler.
func (r relay) WithAttrs(attrs []slog.Attr) slog.Handler {
	return relay{r.to, func(h slog.Handler) slog.Handler { return r.adapt(h).WithAttrs(attrs) }}
}

// WithGroup implements slog.Handler.
func (r relay) WithGroup(name string) slog.Handler {
	return relay{r.to, func(h slog.Handler) slog.Handler { return r.adapt(h).WithGroup(name) }}
}
