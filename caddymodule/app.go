package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/gateway"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what the gateways of a configuration have in common: the journal.
// It opens the journal when it is started, and keeps it open, with what runs on
// it, when the configuration is reloaded.
type App struct {
	// Where writes are kept until they have reached the second cluster. It is
	// only used by gateways that have a target.
	Journal *Journal `json:"journal,omitempty"`

	log      *zap.Logger
	slog     *slog.Logger
	handlers []*Handler
	attached []attachment
	uses     *uses

	before *App // of the configuration that was the newest when this one started

	once   sync.Once
	ready  chan struct{} // closed when Start has ended
	failed error         // why it failed; set before ready is closed
}

// An attachment is the use of a running gateway by this configuration.
type attachment struct {
	key     gatewayKey
	running *running
	by      *Handler
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "esperanto",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision prepares the app. It opens nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.log, a.slog = ctx.Logger(), ctx.Slogger()
	a.ready = make(chan struct{})
	a.uses = newUses(a.release)
	if err := register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	if a.Journal == nil {
		a.Journal = new(Journal)
	}
	return a.Journal.check()
}

// add takes a provisioned handler. Handlers of one name are one gateway.
func (a *App) add(h *Handler) error {
	for _, other := range a.handlers {
		if other.Name == h.Name && !h.sameGateway(other) {
			return fmt.Errorf("two different gateways are named %s; give one of them another name: esperanto <name> { ... }", h.Name)
		}
	}
	a.handlers = append(a.handlers, h)
	return nil
}

func (h *Handler) sameGateway(o *Handler) bool {
	return h.Source == o.Source && h.Target == o.Target && h.Master == o.Master && h.Dialect == o.Dialect && h.Types == o.Types &&
		h.sameTimes(o) && h.Apply == o.Apply && h.Capture == o.Capture && h.throttle() == o.throttle() && h.sameIndices(o) && h.Readiness == o.Readiness && h.CompareReads == o.CompareReads && reflect.DeepEqual(h.Clusters, o.Clusters)
}

func (h *Handler) sameTimes(o *Handler) bool {
	return h.WriteTimeout == o.WriteTimeout && h.SwitchTimeout == o.SwitchTimeout && h.MasterLease == o.MasterLease &&
		h.JournalTimeout == o.JournalTimeout && h.Grace == o.Grace && h.Failover == o.Failover && h.JournalDown == o.JournalDown
}

// Start opens the journals and moves masters that the configuration has
// changed. Requests that come earlier wait for it.
func (a *App) Start() error {
	err := a.start()
	if err != nil {
		a.detach()
	} else {
		a.succeed()
	}
	a.started(err)
	return err
}

// started lets requests go on. Only the first call counts.
func (a *App) started(failed error) {
	a.once.Do(func() {
		a.failed = failed
		close(a.ready)
	})
}

func (a *App) start() error {
	for _, h := range a.handlers {
		if err := a.attach(h); err != nil {
			return fmt.Errorf("gateway %s: %w", h.Name, err)
		}
	}
	return nil
}

// attach connects a handler with its running gateway, which is made if there is
// none yet.
func (a *App) attach(h *Handler) error {
	for name, u := range h.ups {
		if err := u.start(); err != nil {
			return fmt.Errorf("cluster %s: %w", name, err)
		}
	}
	at := slices.IndexFunc(a.attached, func(t attachment) bool { return t.by.Name == h.Name })
	if at < 0 {
		key := h.key(a.Journal)
		value, _, err := gateways.LoadOrNew(key, func() (caddy.Destructor, error) { return newRunning(h, a) })
		if err != nil {
			return err
		}
		at = len(a.attached)
		a.attached = append(a.attached, attachment{key, value.(*running), h})
		if err := value.(*running).attach(h); err != nil {
			return err
		}
	}
	r := a.attached[at].running
	h.gateway = gateway.New(gateway.Config{
		Source: r.clusters[h.Source],
		Target: r.clusters[h.Target],
		Forward: func(c *cluster.Cluster) gateway.Forwarder {
			return h.ups[c.Name()]
		},
		Enter:     r.replication.enter,
		Tasks:     r.tasks,
		Dialect:   h.dialect,
		MaxBody:   h.MaxBody,
		Types:     h.typesSetting(),
		Done:      counted(h.Name),
		Fired:     changed(h.Name),
		Watch:     r.readiness,
		Forwarded: setForwarded,
		Alone: func(c *cluster.Cluster) bool {
			// By the long way a request is that of a client: header_up may name it.
			return h.Clusters[c.Name()].Gather == "off" || h.ups[c.Name()].way.Load().nodes == nil || h.MaxBody < minGathering
		},
		Gathered: gathered(h.Name),
		Logger:   h.log,

		NoWrites: h.noWrites(),
	})
	return nil
}

// wait waits until the gateways can be used.
func (a *App) wait(ctx context.Context) error {
	select {
	case <-a.ready:
	default:
		select {
		case <-a.ready:
		case <-ctx.Done():
			return errors.New("the gateway is starting")
		}
	}
	if a.failed != nil {
		return fmt.Errorf("the gateway could not start: %w", a.failed)
	}
	return nil
}

// Stop implements caddy.App. What requests use goes with the last of them, see
// Cleanup.
func (a *App) Stop() error {
	a.withdraw()
	return nil
}

// Cleanup gives up the running gateways, as soon as no request uses them.
func (a *App) Cleanup() error {
	if a.ready != nil {
		a.started(errors.New("its configuration was given up before it was complete"))
	}
	if a.uses != nil {
		a.uses.give()
	}
	return nil
}

// release runs when the last user has left.
func (a *App) release() { a.detach() }

// detach undoes attach, newest first. A gateway that nobody else uses is
// closed.
func (a *App) detach() {
	for _, t := range slices.Backward(a.attached) {
		t.running.detach(t.by)
		if _, err := gateways.Delete(t.key); err != nil {
			a.log.Error("closing a gateway", zap.String("gateway", t.by.Name), zap.Error(err))
		}
	}
	a.attached = nil
}

// closeWait bounds how long a gateway may take to close.
const closeWait = 10 * time.Second

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
