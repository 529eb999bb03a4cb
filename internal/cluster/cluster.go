package cluster

import (
	"context"
	"sync/atomic"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Cluster is a named Elasticsearch. It lives as long as a gateway uses it,
// over changes of the configuration: SetSender exchanges what carries its
// requests. It is safe for concurrent use.
type Cluster struct {
	name   string
	sender atomic.Pointer[esapi.Sender]
}

// Options are settings of a Cluster.
type Options struct {
	// Version is the cluster's version if the operator has set it. If it is
	// zero the cluster is asked for it.
	Version esapi.Version
}

// New makes a Cluster. It sends nothing yet.
func New(name string, s esapi.Sender, o Options) *Cluster {
	c := &Cluster{name: name}
	c.SetSender(s)
	return c
}

// Name is the name in the configuration, such as "source-es5".
func (c *Cluster) Name() string { return c.name }

// SetSender exchanges what carries the requests. Requests under way end on the
// old one.
func (c *Cluster) SetSender(s esapi.Sender) { c.sender.Store(&s) }

// Send implements esapi.Sender.
func (c *Cluster) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	return (*c.sender.Load()).Send(ctx, r)
}
