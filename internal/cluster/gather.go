package cluster

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

var _ translate.Gatherer = (*Facts)(nil)

// Gather implements translate.Gatherer. Who asks while an answer for the same
// expression is under way waits for that.
func (f *Facts) Gather(ctx context.Context, expression string, names []string) {
	flight := f.gathering(cmp.Or(expression, "_all"), names)
	if flight == nil {
		return
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
	}
}

// gathering is the flight to wait for, nil if one by one would do.
func (f *Facts) gathering(expression string, names []string) *factsFlight {
	f.mu.Lock()
	defer f.mu.Unlock()
	unknown := 0
	for _, name := range names {
		if e, found := f.entries[name]; !found || !e.fresh() {
			unknown++
		}
	}
	if unknown < 2 {
		return nil
	}
	key := "all of " + expression // no name has a space
	flight := f.flights[key]
	if flight == nil {
		flight = &factsFlight{done: make(chan struct{})}
		epoch := f.epoch
		if !f.c.spawn(func(ctx context.Context) { f.fetchAll(ctx, key, expression, flight, epoch) }) {
			return nil
		}
		f.flights[key] = flight
	}
	return flight
}

// fetchAll asks the cluster and ends the flight. What it does not learn is asked
// index by index.
func (f *Facts) fetchAll(ctx context.Context, key, expression string, flight *factsFlight, epoch int) {
	ctx, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	asked := time.Now()
	v, answer := f.askAll(ctx, expression)

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flights[key] == flight {
		delete(f.flights, key)
	}
	if f.epoch == epoch {
		gjson.ParseBytes(answer).ForEach(func(name, o gjson.Result) bool {
			if !o.IsObject() {
				return true
			}
			index := readIndex(v, name.String(), o)
			f.recall(&index, index.Name)
			if len(f.entries) >= maxFacts {
				clear(f.entries)
			}
			f.entries[index.Name] = factsEntry{index, true, asked}
			return true
		})
	}
	close(flight.done)
}

// askAll reads GET /{expression}.
func (f *Facts) askAll(ctx context.Context, expression string) (v esapi.Version, answer []byte) {
	v, err := f.c.Version(ctx)
	if err != nil {
		return v, nil
	}
	target := Path(expression) + "?expand_wildcards=open,closed&ignore_unavailable=true&allow_no_indices=true"
	if v.Major == 7 {
		target += "&include_type_name=true" // else the real type is not told
	}
	status, answer, err := f.c.Do(ctx, http.MethodGet, target, nil)
	if err != nil || status >= 300 {
		return v, nil
	}
	return v, answer
}
