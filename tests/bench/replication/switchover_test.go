package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
	"github.com/esperanto-es/esperanto/tests/gateway"
)

// switchover measures how long writes wait while the master is moved there and
// back.
func switchover(r *rig) {
	for _, j := range journals {
		g := r.front(j.global(r), true)
		for _, writers := range []int{8, 100} {
			r.moves(g, j.name, writers)
		}
	}
}

func (r *rig) moves(g *gateway.Gateway, journal string, writers int) {
	name := r.name("books")
	r.send(g, "PUT", "/"+name, index(r.a.Version))
	p := r.pen(g, name)
	var longest atomic.Int64 // of the writes since it was set to 0, in ns
	var written atomic.Int64
	began := time.Now()
	since := make([]atomic.Int64, writers) // when each began its last write, in ns
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			defer since[i].Store(math.MaxInt64)
			for ctx.Err() == nil {
				since[i].Store(int64(time.Since(began)))
				_, took, err := p.write(r.Context())
				if err != nil {
					r.Error(err)
					return
				}
				written.Add(1)
				for old := longest.Load(); int64(took) > old && !longest.CompareAndSwap(old, int64(took)); old = longest.Load() {
				}
			}
		})
	}
	var pauses, waits []float64
	refused, why := 0, ""
	for masters := []string{"target", "source"}; len(pauses) < *switches && refused <= *switches+10; {
		time.Sleep(200 * time.Millisecond)
		longest.Store(0)
		pause, err := r.move(g, masters[len(pauses)%2])
		if err != nil {
			refused, why = refused+1, err.Error()
			continue
		}
		for moved := int64(time.Since(began)); before(since, moved); {
			time.Sleep(5 * time.Millisecond) // until those that waited have their answers
		}
		pauses, waits = append(pauses, pause), append(waits, ms(time.Duration(longest.Load())))
	}
	rate := float64(written.Load()) / time.Since(began).Seconds()
	stop()
	writing.Wait()
	if len(pauses) < *switches {
		r.Errorf("the master was moved %d times only: %s", len(pauses), why)
		return
	}
	if len(pauses)%2 == 1 {
		_, err := r.move(g, "source")
		r.done(err)
	}
	r.applied(g)
	note := fmt.Sprintf("%d switchovers at %.0f writes/s", len(pauses), rate)
	if refused > 0 {
		note += fmt.Sprintf(", %d more were refused, such as: %.200s", refused, why)
	}
	setting := fmt.Sprintf("%s, %d writers", journal, writers)
	for _, q := range []float64{0.5, 0.99, 1} {
		r.add(Figure{Name: "switchover, pause, " + quantileName(q), Setting: setting, Value: measure.Quantile(pauses, q), Unit: "ms", Note: note})
	}
	for _, q := range []float64{0.5, 1} {
		r.add(Figure{Name: "switchover, longest write, " + quantileName(q), Setting: setting, Value: measure.Quantile(waits, q), Unit: "ms"})
	}
}

// before reports whether one of them is below a limit.
func before(all []atomic.Int64, limit int64) bool {
	for i := range all {
		if all[i].Load() < limit {
			return true
		}
	}
	return false
}

// move moves the master, and returns how long writes waited, in milliseconds.
func (r *rig) move(g *gateway.Gateway, to string) (pause float64, err error) {
	status, answer, err := g.AdminRequest(r.context(2*time.Minute), http.MethodPost, "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to))
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("%d %s", status, answer)
	}
	var result struct {
		PauseMS float64 `json:"pause_ms"`
	}
	return result.PauseMS, json.Unmarshal(answer, &result)
}
