package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gather"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue" // the changes that translate knows
	"github.com/esperanto-es/esperanto/translate/emulate"
)

// A Forwarder carries a client's request to a cluster and the answer back
// without looking into them. An error means that nothing was written to w. It
// panics with http.ErrAbortHandler when an answer breaks off.
type Forwarder interface {
	Forward(w http.ResponseWriter, r *http.Request) error
}

// A Lease lets one request use the cluster that is the master while it runs.
type Lease interface {
	Master() *cluster.Cluster
	Epoch() uint64        // grows when the master is moved
	Sender() esapi.Sender // to the master, in its dialect; captures writes
	Exit()
}

// Config is what a Gateway is made of.
type Config struct {
	// Source is the cluster whose version clients speak unless Dialect is set.
	Source *cluster.Cluster
	// Target is the second cluster, nil if nothing is replicated.
	Target *cluster.Cluster
	// Forward is the direct way to a cluster.
	Forward func(c *cluster.Cluster) Forwarder
	// Enter admits a request. A write may be made to wait, or be refused.
	Enter func(ctx context.Context, write bool) (Lease, error)
	// NoWrites is the answer to every write, if not nil.
	NoWrites error

	// Dialect is the version that clients speak; zero: that of Source.
	Dialect esapi.Version
	// Types is what becomes of several mapping types in an index of 5.x clients on
	// a newer cluster.
	Types translate.TypesSetting
	// MaxBody bounds a request's unpacked body in bytes. If zero, 100 MiB.
	MaxBody int64
	// MaxHeld bounds what bodies of writes take in memory together, in bytes, while there
	// is a Target. If zero, ten times MaxBody.
	MaxHeld int64
	// VersionWait bounds how long a request waits for the version of a cluster
	// that does not answer. If zero, 2 s.
	VersionWait time.Duration

	// Forwarded sets the headers that tell a cluster whose request it is, if not nil.
	Forwarded func(h http.Header, r *http.Request)
	// Alone says to which clusters writes of single documents are always sent alone; nil:
	// to none. To others those that come at the same time go together.
	Alone func(c *cluster.Cluster) bool
	// Gathered is told how many writes went together, each time, if not nil.
	Gathered func(writes int)

	// Tasks are the jobs that run without a client waiting for them. They are
	// shared by the gateways that follow each other. If nil, the gateway has its
	// own.
	Tasks *emulate.Tasks

	// Done is told of every request that was answered, if not nil.
	Done func(Outcome)
	// Fired is told which changes a translation needed, if not nil.
	Fired func(translate.Fired)
	// Watch is shown requests beside their way, if not nil.
	Watch Watcher
	// Logger gets what an operator has to know. If nil, slog.Default().
	Logger *slog.Logger
}

// An Outcome says what became of a request.
type Outcome struct {
	API        string // "search"; "" if it is none that is known
	Status     int    // as the client got it; 499 if it went away before
	Translated bool
	Write      bool
	Took       time.Duration
}

// A Gateway is an http.Handler. It is safe for concurrent use.
type Gateway struct {
	Config
	ids    scrollIDs
	module module
	held   *held
	gather *gather.Gatherer
}

// New makes a Gateway.
func New(c Config) *Gateway {
	c.MaxBody = cmp.Or(c.MaxBody, 100<<20)
	c.VersionWait = cmp.Or(c.VersionWait, 2*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Tasks == nil {
		c.Tasks = emulate.NewTasks()
	}
	if c.Alone == nil {
		c.Alone = func(*cluster.Cluster) bool { return false }
	}
	g := &Gateway{Config: c, gather: gather.New(c.Gathered), held: newHeld(cmp.Or(c.MaxHeld, 10*c.MaxBody))}
	if c.Target != nil {
		g.ids = scrollIDs{c.Source, c.Target}
	}
	return g
}

// Close ends the jobs that run, and waits for them.
func (g *Gateway) Close() { g.Tasks.Close() }

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	a := &answer{ResponseWriter: w}
	o := Outcome{}
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			g.Logger.Error("panic while answering a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if !a.wrote {
				g.fail(a, r, esapi.Version{}, &esapi.Error{Status: http.StatusInternalServerError, Type: "exception", Reason: fmt.Sprintf("internal error: %v", p)})
				p = nil
			}
		}
		if o.Status = a.status; o.Status == 0 {
			o.Status = statusClientGone
		}
		o.Took = time.Since(started)
		if g.Done != nil {
			g.Done(o)
		}
		if p != nil {
			panic(http.ErrAbortHandler) // the client has to see that its answer broke off
		}
	}()
	if err := g.serve(a, r, &o); err != nil {
		g.fail(a, r, g.knownDialect(), err)
	}
}

const statusClientGone = 499

// serve answers r. An error means that nothing was written.
func (g *Gateway) serve(w *answer, r *http.Request, o *Outcome) error {
	path := r.URL.EscapedPath()
	if g.Target == nil && g.Dialect.IsZero() && !asksForAddresses(path) {
		// The clients speak the only cluster's version, whatever that is.
		known := g.knownDialect()
		e := esapi.ParseEndpoint(r.Method, path, cmp.Or(known, anyDialect))
		o.API = e.API
		if !known.IsZero() && g.gathers(r, e, g.Source) {
			return g.forwardWrite(w, r, e, known, g.Source)
		}
		return g.forward(w, r, g.Source)
	}

	dialect, err := g.dialect(r.Context())
	if err != nil {
		return err
	}
	e := esapi.ParseEndpoint(r.Method, path, dialect)
	o.API, o.Write = e.API, !reads(e)
	if o.Write && g.NoWrites != nil {
		return g.NoWrites
	}
	seen := g.look(r, e, dialect)
	defer func() { seen.end(w) }()
	if g.emulates(e) {
		h := &hold{of: g.held}
		defer h.free()
		req, err := g.heldRequest(r, h)
		if err != nil {
			return err
		}
		seen.read(req, nil)
		x := &exchange{asked: r, dialect: dialect}
		if err := x.take(req, e, g.MaxBody); err != nil {
			return err
		}
		return g.emulated(w, r, x, req)
	}

	var req *esapi.Request
	if g.Target != nil && o.Write {
		// The master cannot be moved while a write is let in, so the write must
		// not have to wait for a slow client then.
		h := &hold{of: g.held}
		defer h.free()
		if req, err = g.heldRequest(r, h); err != nil {
			return err
		}
	}
	lease, err := g.Enter(r.Context(), o.Write)
	if err != nil {
		return err
	}
	defer lease.Exit()
	to := lease.Master()
	version, err := g.version(r.Context(), to)
	if err != nil {
		return err
	}
	o.Translated = !dialect.SameDialect(version)
	if g.untouched(e, r, o) {
		seen.forwarded(r, to)
		if g.Target == nil && g.gathers(r, e, to) {
			return g.forwardWrite(w, r, e, version, to)
		}
		return g.forward(w, r, to)
	}

	probed := o.Translated && emulate.Takes(e.API)
	var lent room
	switch {
	case req != nil:
	case probed:
		req, err = g.wholeRequest(w, r) // it may have to be sent twice
	case e.API == "bulk":
		req, err = g.requestIn(w, r, &lent)
	default:
		req, err = g.request(w, r)
	}
	if err != nil {
		return err
	}
	x := &exchange{asked: r, dialect: dialect}
	if err := x.take(req, e, g.MaxBody); err != nil {
		return err
	}
	ctx := r.Context()
	if isSniff(e.API) {
		ctx = translate.WithGatewayAddress(ctx, gatewayAddress(r))
	}
	t, err := g.through(ctx, dialect, e, req, lease, seen)
	o.Translated = t.translated
	if probed && t.lacksModule {
		if err == nil {
			_ = t.answer.Body.Close()
		}
		g.module.miss()
		return g.emulated(w, r, x, req)
	}
	if err != nil {
		return err
	}
	if err := x.write(w, t.answer); err != nil {
		return err
	}
	if !seen.keeps() {
		lent.give()
	}
	return nil
}

// A trip is a request's way to a cluster and back.
type trip struct {
	answer      *esapi.Response
	to          *cluster.Cluster
	translated  bool
	lacksModule bool
}

// through carries a request in the clients' dialect to the cluster that it is
// for: the master, or the one that its scroll is open at.
func (g *Gateway) through(ctx context.Context, dialect esapi.Version, e esapi.Endpoint, req *esapi.Request, lease Lease, seen *look) (t trip, err error) {
	sender := lease.Sender()
	t.to = lease.Master()
	if g.ids != nil && carriesIDs(e) {
		if c := g.ids.unwrap(req); c != nil && c != t.to {
			t.to, sender = c, c
		}
		e = esapi.ParseEndpoint(req.Method, req.Path, dialect) // the id may stand in the path
	}
	seen.read(req, t.to)
	version, err := g.version(ctx, t.to)
	if err != nil {
		return t, err
	}
	if t.to == lease.Master() && !reads(e) && !g.Alone(t.to) {
		sender = g.gather.Sender(gather.Target{Cluster: t.to, Epoch: lease.Epoch(), Version: version}, sender)
	}
	var probe *moduleProbe
	if t.translated = !dialect.SameDialect(version); t.translated {
		plainTypes(req.Header)
		if emulate.Takes(e.API) {
			probe = &moduleProbe{next: sender}
			sender = probe
		}
	}
	if g.Types != translate.RefuseTypes {
		ctx = translate.WithTypes(ctx, g.Types)
	}
	req.Spare = !seen.keeps() && probe == nil // else it may be sent again
	if t.translated || isSniff(e.API) {
		translator := translate.NewSender(dialect, version, t.to.Facts(), sender)
		translator.OnFired = seen.fired(g.Fired)
		t.answer, err = translator.SendAsked(ctx, e, req)
	} else {
		t.answer, err = sender.Send(ctx, req)
	}
	if probe != nil {
		t.lacksModule = probe.missing
	}
	if err != nil {
		return t, err
	}
	if g.ids != nil && givesID(e, req.Params) {
		g.ids.wrap(t.answer, e.API, t.to)
	}
	return t, nil
}

// untouched reports whether a request and its answer need nobody to look into
// them.
func (g *Gateway) untouched(e esapi.Endpoint, r *http.Request, o *Outcome) bool {
	switch {
	case o.Translated, isSniff(e.API):
		return false
	case g.Target == nil:
		return true
	case o.Write:
		return false
	}
	if carriesIDs(e) {
		return false
	}
	params := esapi.ParseParams(r.URL.RawQuery)
	return !givesID(e, params)
}

// forward hands a request through.
func (g *Gateway) forward(w *answer, r *http.Request, to *cluster.Cluster) error {
	if r.ContentLength > g.MaxBody {
		return tooLarge(g.MaxBody)
	}
	if r.Body == nil || r.ContentLength >= 0 {
		return g.Forward(to).Forward(w, r)
	}
	body := &limited{from: r.Body, left: g.MaxBody, max: g.MaxBody}
	r.Body = body
	err := g.Forward(to).Forward(w, r)
	if err != nil && body.exceeded {
		return tooLarge(g.MaxBody)
	}
	return err
}

// gathers reports whether a write may go together with others.
func (g *Gateway) gathers(r *http.Request, e esapi.Endpoint, to *cluster.Cluster) bool {
	return gather.Takes(e, r.URL.RawQuery, r.Header, r.ContentLength) && !namesHeaders(r.Header["Connection"]) && !g.Alone(to)
}

// namesHeaders reports whether a header Connection names others, which are not passed on.
func namesHeaders(connection []string) bool {
	return slices.ContainsFunc(connection, func(value string) bool {
		return !strings.EqualFold(value, "keep-alive") && !strings.EqualFold(value, "close")
	})
}

// forwardWrite is forward for the write of one document, which may go together with
// others.
func (g *Gateway) forwardWrite(w *answer, r *http.Request, e esapi.Endpoint, v esapi.Version, to *cluster.Cluster) error {
	if r.ContentLength > g.MaxBody {
		return tooLarge(g.MaxBody)
	}
	req := &esapi.Request{Method: r.Method, Path: e.Path, Params: esapi.ParseParams(r.URL.RawQuery), Header: r.Header}
	if r.ContentLength > 0 {
		var err error
		// What gather takes is not longer than inMemory: its maxBody is less.
		if req.Body, err = readBody(r.Body, int(r.ContentLength), nil); err != nil {
			return unread(r, err)
		}
	}
	res, err := g.gather.Send(r.Context(), gather.Target{Cluster: to, Version: v}, &writer{g, r, to}, req, &e)
	if err != nil {
		return err
	}
	x := &exchange{asked: r, dialect: v}
	return x.write(w, res)
}

// A writer sends a client's write, or one that others go along with, which has its headers. It makes
// the cluster's headers of those: most writes go along with another one.
type writer struct {
	g     *Gateway
	asked *http.Request
	to    *cluster.Cluster
}

// Send implements esapi.Sender.
func (w *writer) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	sent := *r
	sent.Header = passedOn(r.Header)
	if w.g.Forwarded != nil {
		w.g.Forwarded(sent.Header, w.asked)
	}
	return w.to.Send(ctx, &sent)
}

// dialect is the version that the clients speak.
func (g *Gateway) dialect(ctx context.Context) (esapi.Version, error) {
	if !g.Dialect.IsZero() {
		return g.Dialect, nil
	}
	return g.version(ctx, g.Source)
}

// version asks for a cluster's version, but not for long.
func (g *Gateway) version(ctx context.Context, c *cluster.Cluster) (esapi.Version, error) {
	if v, ok := c.KnownVersion(); ok {
		return v, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.VersionWait)
	defer cancel()
	v, err := c.Version(ctx)
	if err != nil {
		return v, &unavailable{fmt.Errorf("the Elasticsearch version of cluster %s is not known yet: %w", c.Name(), err)}
	}
	return v, nil
}

// knownDialect is the clients' version if it is known without asking.
func (g *Gateway) knownDialect() esapi.Version {
	if !g.Dialect.IsZero() {
		return g.Dialect
	}
	v, _ := g.Source.KnownVersion()
	return v
}

// anyDialect names APIs while the clients' version is not known.
var anyDialect = esapi.V(7, 17)

// asksForAddresses reports whether a path is one that sniffing clients use.
func asksForAddresses(path string) bool { return strings.HasPrefix(path, "/_nodes") }

// isSniff reports whether an API's answer has addresses of nodes that clients
// connect to.
func isSniff(api string) bool { return api == "nodes.info" }

// gatewayAddress is the "host:port" under which the client reached the gateway.
func gatewayAddress(r *http.Request) string {
	if r.Host != "" {
		if _, _, err := net.SplitHostPort(r.Host); err == nil {
			return r.Host
		}
		if r.TLS != nil {
			return net.JoinHostPort(strings.Trim(r.Host, "[]"), "443")
		}
		return net.JoinHostPort(strings.Trim(r.Host, "[]"), "80")
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }); ok {
		return a.String()
	}
	return ""
}

// unavailable says that a request cannot be carried out now, and was not.
type unavailable struct{ err error }

func (u *unavailable) Error() string { return u.err.Error() }
func (u *unavailable) Unwrap() error { return u.err }
