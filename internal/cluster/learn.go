package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// learner writes learned types into mappings. What it could not write it tries again in a
// goroutine that runs only while there is something left.
type learner struct {
	facts   *Facts
	slots   chan struct{}      // bounds the requests at a time
	lessons map[string]*lesson // under way, by index; guarded by facts.mu, as what follows
	pending map[string]string  // index → type, of those that failed
	running bool
}

// A lesson is one attempt to write a type.
type lesson struct {
	typ  string
	done chan struct{}
	err  error // once it is done
}

const (
	maxLearned   = 20_000
	learnSlots   = 4
	learnPause   = 2 * time.Second
	longestLearn = time.Minute // pause
)

// Learn implements translate.Facts. If the cluster cannot be asked now, the type is known
// in memory, and is written later; if the cluster will not have it, it is known in memory
// alone, and that is no error.
func (f *Facts) Learn(ctx context.Context, index, mappingType string) error {
	if index == "" || mappingType == "" {
		return nil
	}
	f.mu.Lock()
	l := &f.learn
	_, unwritten := l.pending[index]
	if f.learned[index] == mappingType && !unwritten {
		f.mu.Unlock()
		return nil
	}
	under := l.lessons[index]
	if under == nil {
		under = &lesson{typ: mappingType, done: make(chan struct{})}
		if !f.c.spawn(func(ctx context.Context) { l.teach(ctx, index, under) }) {
			f.mu.Unlock()
			return esapi.ErrNotSent
		}
		l.lessons[index] = under
	}
	f.mu.Unlock()
	select {
	case <-under.done:
		return under.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// teach ends a lesson.
func (l *learner) teach(ctx context.Context, index string, under *lesson) {
	var err error
	select {
	case l.slots <- struct{}{}:
		err = l.write(ctx, index, under.typ)
		<-l.slots
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.facts.mu.Lock()
	defer l.facts.mu.Unlock()
	delete(l.lessons, index)
	defer close(under.done)
	if err == nil || isAnswered(err) {
		delete(l.pending, index)
		return
	}
	under.err = err
	if l.pending == nil {
		l.pending = map[string]string{}
	}
	if len(l.pending) < maxLearned {
		l.pending[index] = under.typ
	}
	if !l.running {
		l.running = l.facts.c.spawn(l.run)
	}
}

// isAnswered reports whether an error is the cluster's last word: it will not have the
// type written, so that it is known in memory alone.
func isAnswered(err error) bool {
	e, own := new(StatusError), new(esapi.Error)
	status := 0
	switch {
	case errors.As(err, &e):
		status = e.Status
	case errors.As(err, &own):
		status = own.Status
	}
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// write writes a type once. It is known in memory as long as that fails: the name may come
// to stand for another index, of which the mapping tells.
func (l *learner) write(ctx context.Context, index, typ string) error {
	known, err := l.facts.c.rememberType(ctx, index, typ)
	f := l.facts
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.learned, index)
	if err != nil {
		if len(f.learned) >= maxLearned {
			clear(f.learned)
		}
		known, f.learned[index] = typ, typ
	}
	if e, ok := f.entries[index]; ok && (e.index.Type == "" || e.index.Untold) {
		e.index.Type, e.index.Untold = known, err != nil && !isAnswered(err)
		f.entries[index] = e
	}
	return err
}

// recall completes what the mapping tells by what was learned under a name. It is called
// with f.mu held.
func (f *Facts) recall(i *Index, name string) {
	if i.Type == "" && f.learned[name] != "" {
		i.Type = f.learned[name]
		_, i.Untold = f.learn.pending[name]
	}
}

// run writes what is pending until there is nothing left.
func (l *learner) run(ctx context.Context) {
	for wait := learnPause; ; wait = min(2*wait, longestLearn) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		l.facts.mu.Lock()
		work := make(map[string]string, len(l.pending))
		for index, typ := range l.pending {
			work[index] = typ
		}
		if len(work) == 0 || ctx.Err() != nil {
			l.running = false
			l.facts.mu.Unlock()
			return
		}
		l.facts.mu.Unlock()
		for index, typ := range work {
			if ctx.Err() == nil && l.facts.Learn(ctx, index, typ) == nil {
				wait = learnPause
			}
		}
	}
}

// rememberType writes a type into the mapping's _meta, where there are no types, unless
// it names one already. known is the type that the index has then, "" if there is no such
// index. A mapping's _meta is replaced as a whole, so the application's own keys are sent
// again.
func (c *Cluster) rememberType(ctx context.Context, index, typ string) (known string, err error) {
	v, err := c.Version(ctx)
	if err != nil {
		return "", err
	}
	if v.Major < 7 {
		return typ, nil
	}
	status, answer, err := c.Do(ctx, http.MethodGet, Path(index, "_mapping"), nil)
	if err != nil || NoIndex(status, answer) {
		return "", err
	}
	if err := c.Failed(status, answer); err != nil {
		return "", err
	}
	metas, concrete := map[string]string{}, ""
	gjson.ParseBytes(answer).ForEach(func(name, o gjson.Result) bool {
		concrete = name.String()
		metas[concrete] = o.Get("mappings._meta").Raw
		return true
	})
	if len(metas) > 1 { // an alias of several: it is about the one that is written to
		chosen, _, err := c.facts.ask(ctx, index)
		if err != nil {
			return "", err
		}
		concrete = chosen.Name
	}
	meta := metas[concrete]
	if known := gjson.Get(meta, "esperanto.type").String(); concrete == "" || known != "" {
		return known, nil
	}
	if meta == "" {
		meta = "{}"
	}
	meta, err = sjson.Set(meta, "esperanto.type", typ)
	if err != nil {
		return "", fmt.Errorf("the _meta of index %s: %w", index, err)
	}
	status, answer, err = c.putAsClient(ctx, Path(concrete, "_mapping"), []byte(`{"_meta":`+meta+`}`))
	if err == nil {
		err = forbidden(status, answer)
	}
	if err != nil || NoIndex(status, answer) {
		return "", err
	}
	return typ, c.Failed(status, answer)
}
