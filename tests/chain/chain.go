// Package chain is the product's chain without Caddy and without a second
// cluster, in the process of a test: an HTTP server that speaks one dialect, on a
// cluster of another version.
package chain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue" // the changes
)

// Options say what a gateway speaks and what is behind it.
type Options struct {
	Dialect string // version that its clients speak, "5.6.16"
	Cluster string // URL of the only node

	Types translate.TypesSetting // "types"

	// Fired, if not nil, is told what the translation of a request needed.
	Fired func(translate.Fired)

	// Wrap, if not nil, is put around what sends to the cluster: a recorder.
	Wrap func(esapi.Sender) esapi.Sender
}

// A Gateway serves until it is closed.
type Gateway struct {
	URL     string
	server  *httptest.Server
	cluster *cluster.Cluster
}

// Start starts a gateway on a port of 127.0.0.1.
func Start(o Options) (*Gateway, error) {
	dialect, err := esapi.ParseVersion(o.Dialect)
	if err != nil {
		return nil, fmt.Errorf("the dialect of the gateway: %w", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	var sender esapi.Sender = &nodeSender{o.Cluster, transport}
	if o.Wrap != nil {
		sender = o.Wrap(sender)
	}
	c := cluster.New("cluster", sender, cluster.Options{})
	g := gateway.New(gateway.Config{
		Source:  c,
		Dialect: dialect,
		Types:   o.Types,
		Fired:   o.Fired,
		Forward: func(*cluster.Cluster) gateway.Forwarder { return noForwarder{} },
		Enter:   func(context.Context, bool) (gateway.Lease, error) { return lease{c}, nil },
	})
	s := httptest.NewServer(g)
	return &Gateway{s.URL, s, c}, nil
}

// Close ends the server.
func (g *Gateway) Close() {
	g.server.Close()
	g.cluster.Close()
}

// lease is that of a gateway which has one cluster.
type lease struct{ c *cluster.Cluster }

func (l lease) Master() *cluster.Cluster { return l.c }
func (l lease) Epoch() uint64            { return 1 }
func (l lease) Sender() esapi.Sender     { return l.c }
func (l lease) Exit()                    {}

// noForwarder: between different majors nothing is handed through unread.
type noForwarder struct{}

func (noForwarder) Forward(http.ResponseWriter, *http.Request) error {
	return errors.New("a request was to be forwarded between different versions")
}

// nodeSender carries requests to one node.
type nodeSender struct {
	base      string
	transport *http.Transport
}

func (s *nodeSender) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	target := s.base + r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, r.Reader())
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding") // so that the transport unpacks the answer
	req.ContentLength = r.ContentLength()
	res, err := s.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{Status: res.StatusCode, Header: res.Header, Body: res.Body}, nil
}
