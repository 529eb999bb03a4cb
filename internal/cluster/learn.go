package cluster

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// learner writes learned types into mappings, one after the other, in a
// goroutine that runs only while there is something to write.
type learner struct {
	facts   *Facts
	pending map[string]string // index → type; guarded by facts.mu
	running bool
}

const (
	maxLearned    = 20_000
	learnAttempts = 6
	learnPause    = 2 * time.Second
)

// Learn implements translate.Facts.
func (f *Facts) Learn(index, mappingType string) {
	if index == "" || mappingType == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.learned[index] == mappingType {
		return
	}
	if len(f.learned) >= maxLearned {
		clear(f.learned)
	}
	f.learned[index] = mappingType
	if e, ok := f.entries[index]; ok {
		if e.index.Type == mappingType {
			return // the mapping tells it
		}
		if e.index.Type == "" {
			e.index.Type = mappingType
			f.entries[index] = e
		}
	}
	l := &f.learn
	if l.pending == nil {
		l.pending = map[string]string{}
	}
	if len(l.pending) >= maxLearned {
		return // it is known in memory all the same
	}
	l.pending[index] = mappingType
	if !l.running {
		l.running = f.c.spawn(l.run)
	}
}

// run writes what is pending until there is nothing left.
func (l *learner) run(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		l.facts.mu.Lock()
		work := l.pending
		l.pending = nil
		if len(work) == 0 || attempt >= learnAttempts || ctx.Err() != nil {
			l.running = false
			l.facts.mu.Unlock()
			return
		}
		l.facts.mu.Unlock()

		failed := map[string]string{}
		for index, typ := range work {
			if err := l.facts.c.rememberType(ctx, index, typ); err != nil {
				failed[index] = typ
			}
		}
		l.facts.mu.Lock()
		fresh := len(l.pending) > 0
		for index, typ := range failed {
			if l.pending == nil {
				l.pending = map[string]string{}
			}
			if _, newer := l.pending[index]; !newer {
				l.pending[index] = typ
			}
		}
		l.facts.mu.Unlock()
		if fresh {
			attempt = 0
		}
		if len(failed) > 0 {
			select { // the index may not exist yet, or the cluster is down
			case <-time.After(learnPause):
			case <-ctx.Done():
			}
		}
	}
}

// rememberType writes a type into the mapping's _meta, where there are no types.
// A mapping's _meta is replaced as a whole, so the application's own keys are
// sent again.
func (c *Cluster) rememberType(ctx context.Context, index, typ string) error {
	v, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if v.Major < 7 {
		return nil
	}
	status, answer, err := c.Do(ctx, http.MethodGet, Path(index, "_mapping"), nil)
	if err != nil {
		return err
	}
	if err := c.Failed(status, answer); err != nil {
		return err
	}
	var concrete, meta string
	gjson.ParseBytes(answer).ForEach(func(name, o gjson.Result) bool {
		concrete, meta = name.String(), o.Get("mappings._meta").Raw
		return false
	})
	if concrete == "" || gjson.Get(meta, "esperanto.type").String() == typ {
		return nil
	}
	if meta == "" {
		meta = "{}"
	}
	meta, err = sjson.Set(meta, "esperanto.type", typ)
	if err != nil {
		return fmt.Errorf("the _meta of index %s: %w", index, err)
	}
	status, answer, err = c.putAsClient(ctx, Path(concrete, "_mapping"), []byte(`{"_meta":`+meta+`}`))
	if err == nil {
		err = forbidden(status, answer)
	}
	if err != nil {
		return err
	}
	return c.Failed(status, answer)
}
