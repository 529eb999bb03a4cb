package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	"github.com/esperanto-es/esperanto/translate/emulate"
)

// emulates reports whether a request is carried out as several: what changes
// documents by query while there is a second cluster, which needs to know of each
// document, or on a cluster that lacks the module for it.
func (g *Gateway) emulates(e esapi.Endpoint) bool {
	if emulate.Takes(e.API) {
		return g.Target != nil || g.module.isMissing()
	}
	return (&emulate.Emulator{Tasks: g.Tasks}).TakesTask(e)
}

// emulated answers such a request.
func (g *Gateway) emulated(w *answer, r *http.Request, x *exchange, req *esapi.Request) error {
	why := "the gateway carries it out as a search and bulk requests, as the cluster lacks the module for it"
	if g.Target != nil {
		why = "the gateway carries it out as a search and bulk requests, so that both clusters get each document"
	}
	way := &inner{g: g, dialect: x.dialect}
	e := &emulate.Emulator{Gateway: way, Tasks: g.Tasks, MaxPage: max(g.MaxBody, minPage), Why: why}
	res, err := e.Send(r.Context(), x.dialect, req)
	if err != nil {
		return err
	}
	if names := way.lossy(); names != "" {
		res.Header.Set(translate.LossyHeader, names)
	}
	return x.write(w, res)
}

// minPage is what a page of a search may have at least, in bytes.
const minPage = 16 << 20

// inner is the gateway for requests that it makes itself.
type inner struct {
	g       *Gateway
	dialect esapi.Version

	mu   sync.Mutex
	lost string // by the client's search
}

// lossy names the lossy changes that the client's search needed.
func (i *inner) lossy() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lost
}

// Send implements emulate.Gateway.
func (i *inner) Send(ctx context.Context, r *esapi.Request, only string) (*esapi.Response, string, error) {
	e := esapi.ParseEndpoint(r.Method, r.Path, i.dialect)
	lease, err := i.g.Enter(ctx, !reads(e))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", esapi.ErrNotSent, err)
	}
	answered := false
	defer func() {
		if !answered { // also if something panics: a switchover would wait for ever
			lease.Exit()
		}
	}()
	master := lease.Master().Name()
	if only != "" && only != master {
		return nil, master, emulate.ErrMoved
	}
	t, err := i.g.through(ctx, i.dialect, e, r, lease, nil)
	if err != nil {
		return nil, master, err
	}
	if names := t.answer.Header.Get(translate.LossyHeader); names != "" && e.API == "search" {
		i.mu.Lock()
		i.lost = names
		i.mu.Unlock()
	}
	t.answer.Body = &leased{ReadCloser: t.answer.Body, exit: lease.Exit}
	answered = true
	return t.answer, t.to.Name(), nil
}

// A leased body gives the lease back when it is closed.
type leased struct {
	io.ReadCloser
	once sync.Once
	exit func()
}

func (l *leased) Close() error {
	err := l.ReadCloser.Close()
	l.once.Do(l.exit)
	return err
}

// A module is what is known of the cluster's module for changes by query.
type module struct {
	mu    sync.Mutex
	until time.Time // until then it is taken to be missing
}

// missingFor is how long a cluster is not asked again that lacks the module.
const missingFor = 5 * time.Minute

func (m *module) isMissing() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.until)
}

func (m *module) miss() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = time.Now().Add(missingFor)
}

// A moduleProbe sends a request that needs the module, and sees from the answer
// whether it is there.
type moduleProbe struct {
	next    esapi.Sender
	missing bool
}

// Send implements esapi.Sender.
func (p *moduleProbe) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	res, err := p.next.Send(ctx, r)
	if err != nil || res.Status != http.StatusBadRequest && res.Status != http.StatusMethodNotAllowed {
		return res, err
	}
	const most = 64 << 10
	head, _ := io.ReadAll(io.LimitReader(res.Body, most))
	res.Body = &joined{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	text := strings.ToLower(string(head))
	p.missing = strings.Contains(text, "no handler found for uri") || strings.Contains(text, "incorrect http method for uri")
	return res, nil
}
