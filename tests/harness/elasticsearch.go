package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Options say what kind of Elasticsearch to start.
type Options struct {
	// Version is one of Versions.
	Version string

	// Name tells shared clusters of equal options apart: two names are two
	// clusters. StartElasticsearch makes it a part of the cluster's name.
	Name string `json:",omitempty"`

	// DataDir keeps the data beyond Close. If empty, a temporary folder is
	// used, which Close removes.
	DataDir string `json:",omitempty"`

	// Settings are lines of elasticsearch.yml; they win over the harness's.
	Settings map[string]string `json:",omitempty"`

	// Memory keeps data and log in memory if the machine lets us: quick for tests
	// that make and delete many indices. What is written is safe from nothing.
	Memory bool `json:",omitempty"`

	// TLS serves HTTPS with a certificate of the harness's own authority (see
	// Cluster.CAFile). It implies Users. 7.17.28 and 8.7.1 only.
	TLS bool `json:",omitempty"`

	// Users are names and passwords of superusers, without whom no request is
	// answered. If empty and TLS is set, {"elastic": "esperanto"}.
	// 7.17.28 and 8.7.1 only.
	Users map[string]string `json:",omitempty"`

	// Roles are what those of the Users may who are no superusers, by their names, as in
	// roles.yml: {"indices":[{"names":["a-*"],"privileges":["read"]}]}.
	Roles map[string]string `json:",omitempty"`

	// Heap is the size of the Java heap. If empty, 512m.
	Heap string `json:",omitempty"`

	// Fast lets the JVM compile fully: for benchmarks. It takes longer until
	// the cluster is up.
	Fast bool `json:",omitempty"`

	// JVM are more options for the JVM.
	JVM []string `json:",omitempty"`

	// StartTimeout is how long the server may take to come up. If zero, 6
	// minutes. The download is not part of it.
	StartTimeout time.Duration `json:",omitempty"`

	// Progress, if set, gets a line for each step that takes its time.
	Progress io.Writer `json:"-"`
}

// A Cluster is a running Elasticsearch of one node.
type Cluster struct {
	Version  string
	Username string // empty without security
	Password string
	CAFile   string // PEM file with the authority that signed the certificate; empty without TLS

	url string
	log string  // path of the log file
	own *server // nil if the cluster is shared

	once      sync.Once
	client    *http.Client
	clientErr error
}

// StartElasticsearch starts an Elasticsearch that belongs to the caller. The
// context bounds download and start, not the life of the cluster; end that
// with Close. It also ends with this process.
func StartElasticsearch(ctx context.Context, o Options) (*Cluster, error) {
	s, err := newServer(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch %s: %w", o.Version, err)
	}
	s.archive = archived(ctx, s.home, s.say, s.startForArchive)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s.cluster(), nil
}

// URL returns scheme, address and port, without a slash at the end. It stays
// the same when the cluster is started again.
func (c *Cluster) URL() string { return c.url }

// Start starts a stopped or killed cluster again: same port, same data.
func (c *Cluster) Start(ctx context.Context) error {
	return c.do("start", func(s *server) error { return s.start(ctx) })
}

// Stop ends the cluster in order, within 30 seconds. Data and port stay.
func (c *Cluster) Stop() error { return c.do("stop", func(s *server) error { return s.stop() }) }

// Kill ends the cluster with SIGKILL. Data and port stay.
func (c *Cluster) Kill() error { return c.do("kill", func(s *server) error { return s.kill() }) }

// Pause freezes the cluster with SIGSTOP: connections stay open, nothing
// is answered.
func (c *Cluster) Pause() error {
	return c.do("pause", func(s *server) error { return s.pause() })
}

// Resume wakes a cluster that is paused.
func (c *Cluster) Resume() error {
	return c.do("resume", func(s *server) error { return s.resume() })
}

// Close kills the cluster and removes what is temporary.
func (c *Cluster) Close() error { return c.do("close", func(s *server) error { return s.close() }) }

// Logs returns the end of the cluster's log, at most 64 KiB.
func (c *Cluster) Logs() string { return readEnd(c.log, 64<<10) }

func (c *Cluster) do(what string, f func(*server) error) error {
	if c.own == nil {
		return fmt.Errorf("elasticsearch %s is shared: to %s a cluster, start one of your own with StartElasticsearch", c.Version, what)
	}
	return f(c.own)
}
