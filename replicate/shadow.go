package replicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// An index that is made at the follower is to be what the master's is, not what the
// follower's templates say, which may be others by now than when the master's was made. Of
// composable templates only the one with the highest priority holds, and then none of the
// older kind. So a template for just that name, with nothing in it, is there while the
// index is made: it shadows all others.

const shadowPrefix = ".esperanto-shadow-" // verify leaves out names with a dot

// composable is the first version that has composable templates.
var composable = esapi.V(7, 8)

// shadowLimit is after which a shadow belongs to a process that was killed.
const shadowLimit = 10 * time.Minute

// shadow has no template apply to an index until uncover is called. A cluster that
// does not take the shadow makes the index with its templates, as one before 7.8 does:
// the gateway's user may not be allowed to make any.
func (s *scribe) shadow(ctx context.Context, index string, all *shadows) (uncover func() error, err error) {
	if s.target.Before(composable) {
		return func() error { return nil }, nil
	}
	there := s.to.There(index)
	sum := sha256.Sum256([]byte(there))
	path := cluster.Path("_index_template", shadowPrefix+hex.EncodeToString(sum[:12]))
	body, err := json.Marshal(map[string]any{"index_patterns": []string{there}, "priority": int64(math.MaxInt64),
		"_meta": map[string]any{"esperanto": map[string]any{"made": s.now().UnixMilli()}}})
	if err != nil {
		return nil, err
	}
	status, answer, err := s.to.Do(ctx, http.MethodPut, path, body)
	if err == nil && !permanent(status, "") && status != http.StatusForbidden {
		err = s.to.Failed(status, answer)
	}
	if err != nil {
		return nil, err
	}
	if status >= 300 {
		return func() error { return nil }, nil
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := unshadow(ctx, s.to, path)
		if err != nil {
			all.leave(s.to, path)
		}
		return err
	}, nil
}

// shadows are what there is of them at clusters, by their names.
type shadows struct {
	begun time.Time // the process
	alone bool      // no other gateway makes any
	now   func() time.Time

	mu    sync.Mutex
	left  map[string]map[string]bool // those that could not be deleted
	swept map[string]time.Time
}

func (s *shadows) leave(c *cluster.Cluster, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left[c.Name()] == nil {
		s.left[c.Name()] = map[string]bool{}
	}
	s.left[c.Name()][path] = true
}

// clear deletes those that could not be deleted before, and now and then those of processes
// that were killed: at once if they can only be of one before this.
func (s *shadows) clear(ctx context.Context, c *cluster.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.left[c.Name()] {
		if err := unshadow(ctx, c, path); err != nil {
			return err
		}
		delete(s.left[c.Name()], path)
	}
	now, swept := s.now(), s.swept[c.Name()]
	before := now.Add(-shadowLimit)
	if swept.After(before) {
		return nil
	}
	if swept.IsZero() && s.alone {
		before = s.begun.Add(-time.Millisecond)
	}
	if err := sweepShadows(ctx, c, before); err != nil {
		return err
	}
	s.swept[c.Name()] = now
	return nil
}

func unshadow(ctx context.Context, c *cluster.Cluster, path string) error {
	status, answer, err := c.Do(ctx, http.MethodDelete, path, nil)
	if err == nil && status != http.StatusNotFound {
		err = c.Failed(status, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: a template that is there for a moment only has to be deleted again: %w", c.Name(), err)
	}
	return nil
}

// sweepShadows deletes the shadows that were made before a time: their processes were
// killed.
func sweepShadows(ctx context.Context, c *cluster.Cluster, before time.Time) error {
	v, err := c.Version(ctx)
	if err != nil || v.Before(composable) {
		return err
	}
	status, answer, err := c.Do(ctx, http.MethodGet, cluster.Path("_index_template", shadowPrefix+"*"), nil)
	if err != nil {
		return err
	}
	if status == http.StatusNotFound || status == http.StatusForbidden {
		return nil
	}
	if err := c.Failed(status, answer); err != nil {
		return err
	}
	for _, t := range gjson.GetBytes(answer, "index_templates").Array() {
		if t.Get("index_template._meta.esperanto.made").Int() > before.UnixMilli() {
			continue
		}
		if err := unshadow(ctx, c, cluster.Path("_index_template", t.Get("name").String())); err != nil {
			return err
		}
	}
	return nil
}
