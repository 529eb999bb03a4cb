package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/translate"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler is a gateway for Elasticsearch. Its clients speak one version, the
// dialect; its clusters may be of other versions. With a target, all writes
// that the master acknowledges reach the other cluster too, and the master can
// be moved while the clients go on.
//
// It answers every request: nothing behind it in a route is reached.
type Handler struct {
	// The gateway's name, for the admin API and for its part of the journal.
	// Default: `default`. Two handlers of one name, for example on two
	// listeners, are one gateway and must have the same clusters.
	Name string `json:"name,omitempty"`

	// The clusters by name.
	Clusters map[string]*Cluster `json:"clusters,omitempty"`

	// The name of the cluster that the data comes from, whose version the
	// clients speak. It may be left out if there is only one cluster.
	Source string `json:"source,omitempty"`

	// The name of the cluster that the data goes to. Without it nothing is
	// replicated and no journal is opened.
	Target string `json:"target,omitempty"`

	// The name of the cluster that answers reads and takes writes. Default: the
	// source. When a reload changes it, the master is moved before the reload
	// is done; if that is not possible the reload fails and the old
	// configuration stays. A master that was moved by other means stays the
	// master until this option is changed.
	Master string `json:"master,omitempty"`

	// The version of Elasticsearch that clients of this gateway speak: `5.6.16`,
	// or `5` for the last of a major. Default: the source's version, asked of it.
	Dialect string `json:"dialect,omitempty"`

	// What becomes of an index with several mapping types, which 5.x has and newer
	// versions do not: `refuse` a second type, `merge` them into one index of the
	// newer cluster, or `split` them into an index for each. Default: refuse. It
	// must stay what it is while there are such indices.
	Types string `json:"types,omitempty"`

	// The largest request body in bytes, unpacked. Larger ones are answered 413.
	// Default: 104857600, which is what Elasticsearch itself takes.
	MaxBody int64 `json:"max_body,omitempty"`

	// How long a write may take at the master, also when its client is gone.
	// Only used with a target. Default: 1m.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How long writes wait at most while the master is moved. If it takes
	// longer the master stays what it was. Only used with a target. Default: 5s.
	SwitchTimeout caddy.Duration `json:"switch_timeout,omitempty"`

	// How long this gateway takes writes after a journal in Kafka has last
	// confirmed who the master is. A gateway that cannot reach Kafka for so long
	// takes none, and the master can be moved without it. Default: 5s.
	MasterLease caddy.Duration `json:"master_lease,omitempty"`

	// How long a write waits for the journal before it is answered 503. Only
	// used with a target. Default: 10s.
	JournalTimeout caddy.Duration `json:"journal_timeout,omitempty"`

	// How long after a write of unknown outcome, or one of a gateway that is
	// gone, its documents are read back from the master. Only used with a
	// target. Default: 5s.
	Grace caddy.Duration `json:"grace,omitempty"`

	// After how long without an answer of any node of the master the follower takes
	// over. All gateways that share a journal must have it. Only used with a target.
	// Default: it does not by itself.
	Failover caddy.Duration `json:"failover,omitempty"`

	// What becomes of writes while the journal is down: they are refused
	// (`refuse`, the default), or let through (`accept`); then the indices that
	// they touch are resynced when the journal is back. Only used with a target.
	JournalDown string `json:"journal_down,omitempty"`

	// The other cluster is written too, by another gateway that replicates to this one's
	// source. Of two documents of one version that of this cluster counts; both
	// gateways name the same one. Default: nobody else writes to the target.
	BothWays string `json:"both_ways,omitempty"`

	// Whether this process applies what stands in the journal to the follower: `on`,
	// `off` (others that share the journal do), or `paused` (as on, but the applier
	// begins paused if none was there before; the admin API has it go on). Only used
	// with a target. Default: on.
	Apply string `json:"apply,omitempty"`

	// Whether this process takes writes: `on`, or `off` for one that only applies. Then
	// writes are answered 403, and reads as ever. Only used with a target. Default: on.
	Capture string `json:"capture,omitempty"`

	// How fast the applier writes to the follower at most. A reload changes it. Only
	// used with a target. Default: no bound.
	Throttle *Throttle `json:"throttle,omitempty"`

	// Which indices are replicated, and what they are called at the target. Only
	// used with a target. Default: all, as they are called at the source.
	Indices *replicate.Indices `json:"indices,omitempty"`

	// Which requests are looked at, beside their way, for the readiness report:
	// `on`, `off` or a share such as `10%`. At most some hundred are in a second.
	// Default: on, if there is a target or a dialect.
	Readiness string `json:"readiness,omitempty"`

	// The share of the reads that are asked again at both clusters to compare
	// the answers, such as `1%`. Only used with a target. Default: `off`.
	CompareReads string `json:"compare_reads,omitempty"`

	app     *App
	log     *slog.Logger
	ups     map[string]*upstream
	dialect esapi.Version
	gateway *gateway.Gateway
}

// A Cluster is an Elasticsearch cluster.
type Cluster struct {
	// How its nodes are reached: the JSON of Caddy's `reverse_proxy` handler,
	// with upstreams, load balancing, health checks, headers and transport.
	// Different from reverse_proxy alone, the transport does not ask for
	// compressed answers and keeps up to 512 idle connections, and with several
	// nodes a request goes to the next one if one cannot be connected to.
	// `retry_match` and `handle_response` are not possible.
	ProxyRaw json.RawMessage `json:"reverse_proxy,omitempty"`

	// The user that the gateway is for the cluster. May be a placeholder.
	User string `json:"user,omitempty"`

	// The user's password. May be a placeholder, such as `{env.ES5_PASSWORD}`.
	Password string `json:"password,omitempty"`

	// Whether a client's own credentials are handed through. Requests without
	// any, and the gateway's own, use user and password. By default the
	// client's credentials are not sent to the cluster.
	Passthrough bool `json:"passthrough,omitempty"`

	// Whether writes of single documents that come at the same time go to the cluster as
	// one bulk: `on` or `off`. Each is answered as if it had been sent alone. Default: on.
	Gather string `json:"gather,omitempty"`

	// The cluster's version, such as `8.7.1`. Default: asked of the cluster.
	Version string `json:"version,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.esperanto",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision checks the configuration and prepares the ways to the clusters. It
// sends nothing and opens nothing.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.complete()
	if err := h.check(); err != nil {
		return err
	}
	var err error
	if h.dialect, err = parseVersion(h.Dialect); err != nil {
		return fmt.Errorf("dialect: %w", err)
	}
	app, err := ctx.App("esperanto")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	if err := h.checkJournal(h.app.Journal); err != nil {
		return err
	}
	watchClients(ctx)
	h.log = ctx.Slogger()
	h.ups = map[string]*upstream{}
	for name, c := range h.Clusters {
		if h.ups[name], err = newUpstream(ctx, c); err != nil {
			delete(h.ups, name)
			return fmt.Errorf("cluster %s: %w", name, err)
		}
	}
	return h.app.add(h)
}

// Cleanup lets the ways to the clusters end with their last requests.
func (h *Handler) Cleanup() error {
	for _, u := range h.ups {
		u.give()
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.app.uses.enter()
	defer h.app.uses.leave()
	if err := h.app.wait(r.Context()); err != nil {
		gateway.Unavailable(w, r, err)
		return nil
	}
	h.app.askToLeave(w, r)
	h.gateway.ServeHTTP(w, r)
	return nil
}

// defaultName is the name of a gateway that was given none.
const defaultName = "default"

// complete fills in what may be left out.
func (h *Handler) complete() {
	if h.Name == "" {
		h.Name = defaultName
	}
	if h.Source == "" && len(h.Clusters) == 1 {
		for name := range h.Clusters {
			h.Source = name
		}
	}
	if h.Master == "" {
		h.Master = h.Source
	}
	if h.MaxBody == 0 {
		h.MaxBody = 100 << 20
	}
}

// A flaw is a mistake in one option.
type flaw struct {
	option  string // "source", "target" ...
	cluster string // the cluster that has the option, or ""
	err     error
}

func (f *flaw) Error() string {
	if f.cluster != "" {
		return fmt.Sprintf("cluster %s: %v", f.cluster, f.err)
	}
	return f.err.Error()
}

func checkGather(value string) error {
	if value != "" && value != "on" && value != "off" {
		return fmt.Errorf("gather %s: write on or off", value)
	}
	return nil
}

// check looks for mistakes that can be found without asking anyone.
func (h *Handler) check() error {
	if len(h.Clusters) == 0 {
		return &flaw{err: errors.New("no cluster is given; add \"cluster <name> { to http://localhost:9200 }\"")}
	}
	names := h.clusterNames()
	for _, name := range names {
		c := h.Clusters[name]
		if c == nil || len(c.ProxyRaw) == 0 {
			return &flaw{"to", name, errors.New("no address of a node is given; add for example \"to http://localhost:9200\"")}
		}
		if _, err := parseVersion(c.Version); err != nil {
			return &flaw{"version", name, err}
		}
		if err := checkGather(c.Gather); err != nil {
			return &flaw{"gather", name, err}
		}
		if (c.User == "") != (c.Password == "") {
			return &flaw{"auth", name, errors.New("auth needs both a user and a password")}
		}
	}
	if _, err := parseVersion(h.Dialect); err != nil {
		return &flaw{option: "dialect", err: err}
	}
	if err := h.checkTypes(); err != nil {
		return &flaw{option: "types", err: err}
	}
	if h.Source == "" {
		return &flaw{option: "source", err: fmt.Errorf("which cluster is the source? add \"source <name>\" with one of: %s", strings.Join(names, ", "))}
	}
	for _, o := range []struct{ option, name string }{{"source", h.Source}, {"target", h.Target}, {"master", h.Master}} {
		if o.name != "" && h.Clusters[o.name] == nil {
			return &flaw{option: o.option, err: fmt.Errorf("%s %s: there is no cluster of this name; the clusters are: %s", o.option, o.name, strings.Join(names, ", "))}
		}
	}
	if h.Source == h.Target {
		return &flaw{option: "target", err: fmt.Errorf("source and target are both %s; the target has to be another cluster, or left out", h.Source)}
	}
	if h.Master != h.Source && h.Master != h.Target {
		if h.Target == "" {
			return &flaw{option: "master", err: fmt.Errorf("master %s is not the source %s; without a target the source is the master", h.Master, h.Source)}
		}
		return &flaw{option: "master", err: fmt.Errorf("master %s is neither the source %s nor the target %s", h.Master, h.Source, h.Target)}
	}
	for _, name := range names {
		if name != h.Source && name != h.Target {
			return &flaw{cluster: name, err: errors.New("it is neither source nor target; use it or take it out")}
		}
	}
	if h.MaxBody < 0 {
		return &flaw{option: "max_body", err: errors.New("max_body must be positive")}
	}
	for _, o := range []struct {
		option string
		d      caddy.Duration
	}{{"write_timeout", h.WriteTimeout}, {"switch_timeout", h.SwitchTimeout}, {"master_lease", h.MasterLease}, {"journal_timeout", h.JournalTimeout}, {"grace", h.Grace}, {"failover", h.Failover}} {
		if o.d < 0 {
			return &flaw{option: o.option, err: fmt.Errorf("%s must be positive", o.option)}
		}
		if o.d > 0 && h.Target == "" {
			return &flaw{option: o.option, err: fmt.Errorf("%s has no use without a target", o.option)}
		}
	}
	if h.Failover > 0 && h.Failover < minFailover {
		return &flaw{option: "failover", err: fmt.Errorf("failover %s: a master that is slow would be taken for down; write 1s or more", time.Duration(h.Failover))}
	}
	for _, check := range []func() error{h.checkJournalDown, h.checkRoles, h.checkThrottle, h.checkBothWays, h.checkIndices} {
		if err := check(); err != nil {
			return err
		}
	}
	return h.checkReadiness()
}

// minGathering is the smallest MaxBody with which writes are gathered, in bytes: what
// goes together is held to it, too.
const minGathering = 2 << 20

// minFailover is the shortest time after which a master may be taken for down.
const minFailover = caddy.Duration(time.Second)

// typesSetting is what the option types says.
func (h *Handler) typesSetting() translate.TypesSetting {
	if h.Types == "refuse" {
		return translate.RefuseTypes
	}
	return translate.TypesSetting(h.Types)
}

func (h *Handler) checkTypes() error {
	setting := h.typesSetting()
	switch setting {
	case translate.RefuseTypes:
		return nil
	case translate.MergeTypes, translate.SplitTypes:
	default:
		return fmt.Errorf("types %s: write refuse, merge or split", h.Types)
	}
	if v, err := parseVersion(h.Dialect); err == nil && !v.IsZero() && v.Major > 5 {
		return fmt.Errorf("types %s has no use for clients of %s: only 5.x has several types in an index", h.Types, h.Dialect)
	}
	if h.Target != "" {
		return fmt.Errorf("types %s is not there yet for a gateway with a target: documents of a second type would not reach the other cluster; leave out target, or write refuse", h.Types)
	}
	return nil
}

func (h *Handler) clusterNames() []string {
	var names []string
	for name := range h.Clusters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseVersion reads a version that may be left out.
func parseVersion(s string) (esapi.Version, error) {
	if s == "" {
		return esapi.Version{}, nil
	}
	return esapi.ParseVersion(s)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
