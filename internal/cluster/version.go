package cluster

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

const (
	// detectWait bounds one attempt to find the version.
	detectWait = 5 * time.Second
	// detectPause is how long a failure is remembered, so that a cluster that
	// is down is not asked by every request.
	detectPause = time.Second
)

// versionState is what is known of the cluster's version.
type versionState struct {
	fixed esapi.Version // set by the operator

	mu      sync.Mutex
	known   esapi.Version // zero: not known yet
	doubted bool          // the connection was lost since it was found
	err     error         // of the last attempt
	tried   time.Time     // when it ended
	flight  chan struct{} // closed when the attempt under way ends; nil: none
}

// doubt has the version found again, because a connection was lost.
func (s *versionState) doubt() {
	s.mu.Lock()
	s.doubted = true
	s.mu.Unlock()
}

// Version is the version whose dialect the cluster speaks. The cluster is asked
// when it is not known yet, and once more after a lost connection; until there
// is an answer the version that was known stands. The error says why it is not
// known.
func (c *Cluster) Version(ctx context.Context) (esapi.Version, error) {
	if c.real != nil {
		return c.real.Version(ctx)
	}
	s := &c.version
	if v, ok := c.KnownVersion(); ok {
		return v, nil
	}
	s.mu.Lock()
	if !s.known.IsZero() {
		defer s.mu.Unlock()
		return s.known, nil
	}
	flight := s.flight
	if flight == nil {
		defer s.mu.Unlock()
		return esapi.Version{}, s.err
	}
	s.mu.Unlock()

	select {
	case <-flight:
	case <-ctx.Done():
		return esapi.Version{}, fmt.Errorf("the version of cluster %s is not known yet: %w", c.name, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known.IsZero() {
		return esapi.Version{}, s.err
	}
	return s.known, nil
}

// KnownVersion is Version if the cluster need not be waited for. It has the version
// found if it is not known.
func (c *Cluster) KnownVersion() (v esapi.Version, ok bool) {
	if c.real != nil {
		return c.real.KnownVersion()
	}
	s := &c.version
	if !s.fixed.IsZero() {
		return s.fixed, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := !s.known.IsZero()
	if s.flight == nil && (!known && s.err == nil || (!known || s.doubted) && time.Since(s.tried) > detectPause) {
		c.detectInBackground()
	}
	return s.known, known
}

// detectInBackground starts an attempt. The caller holds the lock.
func (c *Cluster) detectInBackground() {
	s := &c.version
	flight := make(chan struct{})
	s.flight = flight
	s.doubted = false
	started := c.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, detectWait)
		defer cancel()
		v, err := c.detect(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tried, s.err, s.flight = time.Now(), err, nil
		if err == nil {
			s.known = v
		} else {
			s.doubted = true
		}
		close(flight)
	})
	if !started {
		s.err, s.tried, s.flight = fmt.Errorf("cluster %s is closed", c.name), time.Now(), nil
		close(flight)
	}
}

// detect asks GET /, and the nodes API where that tells no version.
func (c *Cluster) detect(ctx context.Context) (esapi.Version, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return esapi.Version{}, err
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return esapi.Version{}, fmt.Errorf("cluster %s answers %d to GET /: check the credentials of this cluster", c.name, status)
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return esapi.Version{}, c.Failed(status, answer)
	}
	if d := gjson.GetBytes(answer, "version.distribution").String(); d != "" && d != "elasticsearch" {
		return esapi.Version{}, fmt.Errorf("cluster %s is %s %s, which is not supported; esperanto speaks Elasticsearch 5.x, 6.x, 7.x and 8.x",
			c.name, d, gjson.GetBytes(answer, "version.number"))
	}
	if number := gjson.GetBytes(answer, "version.number").String(); status == http.StatusOK && number != "" {
		return c.parse(number)
	}
	return c.lowestNode(ctx)
}

// lowestNode reads the version of the oldest node: what it understands, all do.
func (c *Cluster) lowestNode(ctx context.Context) (esapi.Version, error) {
	status, answer, err := c.Do(ctx, http.MethodGet, "/_nodes/_all/http", nil)
	if err != nil {
		return esapi.Version{}, err
	}
	if err := c.Failed(status, answer); err != nil {
		return esapi.Version{}, err
	}
	var lowest esapi.Version
	gjson.GetBytes(answer, "nodes").ForEach(func(_, node gjson.Result) bool {
		var v esapi.Version
		if v, err = c.parse(node.Get("version").String()); err != nil {
			return false
		}
		if lowest.IsZero() || v.Before(lowest) {
			lowest = v
		}
		return true
	})
	if err != nil {
		return esapi.Version{}, err
	}
	if lowest.IsZero() {
		return esapi.Version{}, fmt.Errorf("cluster %s tells no version: is it an Elasticsearch? It can be set with \"version\"", c.name)
	}
	return lowest, nil
}

func (c *Cluster) parse(number string) (esapi.Version, error) {
	v, err := esapi.ParseVersion(number)
	if err != nil {
		return v, fmt.Errorf("cluster %s: %w", c.name, err)
	}
	return v, nil
}
