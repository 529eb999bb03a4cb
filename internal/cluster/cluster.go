package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Cluster is a named Elasticsearch. It lives as long as a gateway uses it,
// over changes of the configuration: SetSender exchanges what carries its
// requests. It is safe for concurrent use.
type Cluster struct {
	name    string
	sender  atomic.Pointer[esapi.Sender]
	version versionState
	facts   *Facts

	interrupts interrupts
	maxAnswer  int64

	// Of one that is Renamed: what it is in truth, and its names.
	real  *Cluster
	names Names

	// What runs in the background is bound to ctx and counted in running.
	ctx     context.Context
	stop    context.CancelFunc
	closing sync.Mutex // orders running.Add before running.Wait
	running sync.WaitGroup
}

// Options are settings of a Cluster.
type Options struct {
	// Version is the cluster's version if the operator has set it. If it is
	// zero the cluster is asked for it.
	Version esapi.Version
	// MaxAnswer bounds the answers that are held in memory, in bytes. If zero, 256 MiB.
	MaxAnswer int64
}

// New makes a Cluster. It sends nothing yet.
func New(name string, s esapi.Sender, o Options) *Cluster {
	c := &Cluster{name: name}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.version.fixed, c.maxAnswer = o.Version, o.MaxAnswer
	c.facts = newFacts(c)
	c.SetSender(s)
	return c
}

// Name is the name in the configuration, such as "source-es5".
func (c *Cluster) Name() string { return c.name }

// SetSender exchanges what carries the requests. Requests under way end on the
// old one.
func (c *Cluster) SetSender(s esapi.Sender) {
	c.sender.Store(&s)
	c.version.doubt()
}

// Send implements esapi.Sender.
func (c *Cluster) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	in, err := c.interrupts.bound(ctx)
	if err != nil {
		return nil, err
	}
	res, err := (*c.sender.Load()).Send(in, r)
	if err != nil && in.interrupted() {
		err = ErrInterrupted
	}
	if err != nil || res.Body == nil {
		in.release()
	} else {
		res.Body = boundWith(res.Body, in)
	}
	if lost(ctx, err) {
		// The cluster may come back as another version: a rolling upgrade.
		c.version.doubt()
	}
	return res, err
}

// lost reports whether err means that the connection to the cluster failed,
// and not that the caller gave up or that the gateway itself answered.
func lost(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	var own *esapi.Error
	return !errors.As(err, &own)
}

// Facts are what is known of the cluster's indices.
func (c *Cluster) Facts() *Facts { return c.facts }

// Close ends what runs in the background. Requests can still be sent.
func (c *Cluster) Close() {
	c.closing.Lock()
	c.stop()
	c.closing.Unlock()
	c.running.Wait()
}

// spawn runs f in the background until it returns; Close cancels its context
// and waits for it. It reports false if the Cluster is closed.
func (c *Cluster) spawn(f func(ctx context.Context)) bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		f(c.ctx)
	}()
	return true
}
