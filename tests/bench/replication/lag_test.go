package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/tidwall/gjson"
)

// lag measures how long after its acknowledgement a write is at the follower while
// half as much is written as could be.
func lag(r *rig) {
	for _, j := range journals {
		g := r.front(j.global(r), true)
		name := r.name("books")
		r.send(g, "PUT", "/"+name, index(r.a.Version))
		p := r.pen(g, name)
		r.hammer(p, *connection, *period/2) // all is warm
		r.applied(g)
		full := float64(len(r.hammer(p, *connection, *period))) / period.Seconds()
		r.applied(g)
		reached, took := r.offer(p, full/2, 3*(*period))
		r.applied(g)
		setting := fmt.Sprintf("%s, %d connections", j.name, *connection)
		r.add(Figure{Name: "writes that go through, applier running", Setting: setting, Value: full, Unit: "writes/s"})
		for _, q := range []float64{0.5, 0.99, 1} {
			r.add(Figure{Name: "lag at half load, " + quantileName(q), Setting: setting, Value: measure.Quantile(reached, q), Unit: "ms",
				Note: fmt.Sprintf("%d of %.0f writes/s; %d writes looked at", int(took), full/2, len(reached))})
		}
	}
}

func quantileName(q float64) string {
	if q == 1 {
		return "max"
	}
	return fmt.Sprintf("p%.0f", q*100)
}

// An acknowledged write that is looked for at the follower.
type acknowledged struct {
	n  int64
	at time.Time
}

// offer writes at a rate for a time. It returns the lag of some of the writes, in
// milliseconds, and the rate that came about.
func (r *rig) offer(p pen, rate float64, period time.Duration) (lags []float64, took float64) {
	r.Helper()
	looked := make(chan acknowledged, 10_000)
	var watcher sync.WaitGroup
	watcher.Go(func() { lags = r.watch(p, looked) })

	due := make(chan struct{}, 10_000)
	var writers sync.WaitGroup
	const lookAt = 100 // writes per second
	every := max(1, int64(rate/lookAt))
	for range 64 {
		writers.Go(func() {
			for range due {
				n, _, err := p.write(r.Context())
				if err != nil {
					r.Error(err)
				} else if n%every == 0 {
					looked <- acknowledged{n, time.Now()}
				}
			}
		})
	}
	began, sent := time.Now(), 0
	for time.Since(began) < period {
		for ; float64(sent) < rate*time.Since(began).Seconds(); sent++ {
			due <- struct{}{}
		}
		time.Sleep(time.Millisecond)
	}
	close(due)
	writers.Wait()
	close(looked)
	took = float64(sent) / time.Since(began).Seconds()
	watcher.Wait()
	return lags, took
}

// watch asks the follower again and again for documents that it does not have yet.
func (r *rig) watch(p pen, looked <-chan acknowledged) (lags []float64) {
	var missing []acknowledged
	var end time.Time // when nothing more is waited for
	for {
		if len(missing) == 0 {
			one, ok := <-looked
			if !ok {
				return lags
			}
			missing = append(missing, one)
		}
		for more := true; more; {
			select {
			case one, ok := <-looked:
				if more = ok; ok {
					missing = append(missing, one)
				} else if end.IsZero() {
					end = time.Now().Add(3 * time.Minute)
				}
			default:
				more = false
			}
		}
		there, err := r.there(p.index, missing)
		now := time.Now()
		if err != nil || !end.IsZero() && now.After(end) {
			r.Errorf("%d writes are not at the follower: %v", len(missing), err)
			for range looked {
			}
			return lags
		}
		var left []acknowledged
		for i, one := range missing {
			if there[i] {
				lags = append(lags, ms(now.Sub(one.at)))
			} else {
				left = append(left, one)
			}
		}
		missing = left
		time.Sleep(2 * time.Millisecond)
	}
}

// there tells which documents the follower has.
func (r *rig) there(index string, docs []acknowledged) ([]bool, error) {
	ids := make([]string, len(docs))
	for i, d := range docs {
		ids[i] = fmt.Sprintf(`{"_index":%q,"_type":%q,"_id":"%d","_source":false}`, index, typ(r.b.Version), d.n)
		if r.b.Version >= "7" {
			ids[i] = fmt.Sprintf(`{"_index":%q,"_id":"%d","_source":false}`, index, d.n)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	status, answer, err := ask(ctx, http.MethodPost, r.b.URL()+"/_mget", `{"docs":[`+strings.Join(ids, ",")+`]}`)
	if err != nil || status != http.StatusOK || !json.Valid(answer) {
		return nil, fmt.Errorf("_mget: %d %.500s %v", status, answer, err)
	}
	found := make([]bool, 0, len(docs))
	for _, d := range gjson.GetBytes(answer, "docs").Array() {
		found = append(found, d.Get("found").Bool())
	}
	if len(found) != len(docs) {
		return nil, fmt.Errorf("_mget: %d of %d answered", len(found), len(docs))
	}
	return found, nil
}
