package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// A pool holds shared clusters. Each is started when it is first asked for and
// runs until the pool is closed.
type pool struct {
	progress io.Writer
	starting chan struct{} // as many at once as there are processors

	mu     sync.Mutex
	closed bool
	all    map[string]*shared
}

// A shared cluster is either of the two.
type shared struct {
	up     chan struct{} // closed when the start is over
	err    error
	search *Cluster
	kafka  *KafkaCluster
}

func newPool(progress io.Writer) *pool {
	return &pool{progress: progress, starting: make(chan struct{}, runtime.NumCPU()), all: map[string]*shared{}}
}

func (p *pool) elasticsearch(ctx context.Context, o Options) (*Cluster, error) {
	o.Progress = p.progress
	s, err := p.get(ctx, "elasticsearch", o, func(ctx context.Context, s *shared) (err error) {
		s.search, err = StartElasticsearch(ctx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.search, nil
}

func (p *pool) kafkaCluster(ctx context.Context, o KafkaOptions) (*KafkaCluster, error) {
	o.Progress = p.progress
	s, err := p.get(ctx, "kafka", o, func(ctx context.Context, s *shared) (err error) {
		s.kafka, err = StartKafka(ctx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.kafka, nil
}

// get returns the cluster with these options. A start that failed is not tried
// again: every test would wait for it anew.
func (p *pool) get(ctx context.Context, kind string, options any, start func(context.Context, *shared) error) (*shared, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	key := kind + string(text)
	p.mu.Lock()
	s, known := p.all[key]
	if !known {
		if p.closed {
			p.mu.Unlock()
			return nil, errors.New("the run is over")
		}
		s = &shared{up: make(chan struct{})}
		p.all[key] = s
		go func() { // ends with the start, which has a limit
			defer close(s.up)
			p.starting <- struct{}{}
			defer func() { <-p.starting }()
			// Not the context of who asks first: others wait too.
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
			defer cancel()
			s.err = start(ctx, s)
		}()
	}
	p.mu.Unlock()
	select {
	case <-s.up:
		return s, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a shared %s: %w", kind, context.Cause(ctx))
	}
}

// close ends all clusters, those that are still starting too.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	var errs []error
	for _, s := range p.all {
		<-s.up
		if s.search != nil {
			errs = append(errs, s.search.Close())
		}
		if s.kafka != nil {
			errs = append(errs, s.kafka.Close())
		}
	}
	return errors.Join(errs...)
}
