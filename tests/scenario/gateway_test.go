package scenario

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
)

// newGateway serves clients of a dialect on a cluster of another version: the
// product's chain without Caddy and without a second cluster.
func newGateway(t *testing.T, dialect, version, clusterURL string) string {
	t.Helper()
	speaks, err := esapi.ParseVersion(dialect)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New("cluster-"+version, &httpSender{clusterURL, &http.Transport{MaxIdleConnsPerHost: 8}}, cluster.Options{})
	t.Cleanup(c.Close)
	g := gateway.New(gateway.Config{
		Source:  c,
		Dialect: speaks,
		Forward: func(*cluster.Cluster) gateway.Forwarder { return noForwarder{} },
		Enter:   func(context.Context, bool) (gateway.Lease, error) { return lease{c}, nil },
	})
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s.URL
}

// lease is that of a gateway which has one cluster.
type lease struct{ c *cluster.Cluster }

func (l lease) Master() *cluster.Cluster { return l.c }
func (l lease) Sender() esapi.Sender     { return l.c }
func (l lease) Exit()                    {}

// noForwarder: between different majors nothing is handed through unread.
type noForwarder struct{}

func (noForwarder) Forward(http.ResponseWriter, *http.Request) error {
	return errors.New("a request was to be forwarded between different versions")
}

// httpSender carries requests to one node.
type httpSender struct {
	base      string
	transport *http.Transport
}

func (s *httpSender) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
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
