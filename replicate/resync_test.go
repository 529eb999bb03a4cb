package replicate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// granted waits until everything is applied and all wishes are granted. A job may have come to its end
// before the last of them was there, so that it takes another one.
func (g *rig) granted() {
	g.t.Helper()
	g.drained()
	for deadline := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		list, err := g.r.resyncs.wishes(g.t.Context())
		if err == nil && len(list) == 0 {
			break
		}
		if time.Now().After(deadline) {
			j, _, _ := g.r.Jobs().Job(g.t.Context(), JobResync)
			g.t.Fatalf("%v left, %v; %+v %s", list, err, j, j.Progress)
		}
	}
	g.waitJob(JobResync, JobDone)
}

// resynced does so, and compares both clusters.
func (g *rig) resynced() ResyncProgress {
	g.t.Helper()
	g.granted()
	g.equal()
	g.noDeadLetters()
	if n := g.a.Scrolls() + g.b.Scrolls(); n != 0 {
		g.t.Errorf("%d scrolls are open", n)
	}
	j, _, _ := g.r.Jobs().Job(g.t.Context(), JobResync)
	var p ResyncProgress
	if err := json.Unmarshal(j.Progress, &p); err != nil {
		g.t.Fatal(err)
	}
	return p
}

func TestResync(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]esapi.Version{{v56, v87}, {v87, v56}, {v68, v717}} {
		t.Run(v[0].String()+" to "+v[1].String(), func(t *testing.T) {
			g := newRig(t, v[0], v[1])
			for i := range 20 {
				g.must("PUT", fmt.Sprintf("/books/%s/%d", typeAt(v[0]), i), `{"n":1}`)
			}
			g.equal()
			// Behind the gateway's back: new, changed and lower versions at the
			// master, more and other documents at the follower.
			g.a.Set("books", "new", "", 3, `{"n":2}`)
			g.a.Set("books", "1", "", 9, `{"n":2}`)
			g.b.Set("books", "2", "", 9, `{"n":"another one"}`)
			g.b.Set("books", "3", "", 1, `{"n":"another one of that version"}`)
			for i := range 7 {
				g.b.Set("books", fmt.Sprintf("extra%d", i), "", 5, `{"n":3}`)
			}
			names, err := g.r.Resync(t.Context(), []string{"boo*"})
			if err != nil || !slices.Equal(names, []string{"books"}) {
				t.Fatalf("%v, %v", names, err)
			}
			if p := g.resynced(); p.Removed != 7 || p.Copied != 1 && p.Copied != 2 || p.IndicesDone != 1 || p.Left != 0 {
				t.Errorf("%+v", p)
			}
			// Once more there is nothing to do.
			if _, err := g.r.Resync(t.Context(), []string{"books"}); err != nil {
				t.Fatal(err)
			}
			if p := g.resynced(); p.Removed != 0 || p.Copied != 0 || p.Present != 21 {
				t.Errorf("%+v", p)
			}
			refused := new(JobError)
			for _, wrong := range [][]string{nil, {""}, {"missing"}} {
				if _, err := g.r.Resync(t.Context(), wrong); !errors.As(err, &refused) || len(refused.NextSteps) == 0 {
					t.Errorf("%v: %v", wrong, err)
				}
			}
		})
	}
}

func typeAt(v esapi.Version) string {
	if v.Major >= 7 {
		return "_doc"
	}
	return "doc"
}

// Writes, deletions and kills go on while it works, and more is asked for: the
// master is not moved before all is done.
func TestResyncSurvives(t *testing.T) {
	t.Parallel()
	g := newRig(t, v56, v87, func(c *Config) { c.BatchDocs = 50 })
	for n := range 3 {
		g.must("PUT", fmt.Sprintf("/books-%d/doc/00000", n), `{"n":0}`)
		g.drained()
		g.fill(fmt.Sprintf("books-%d", n), 300)
		for i := range 40 {
			g.b.Set(fmt.Sprintf("books-%d", n), fmt.Sprintf("extra%d", i), "", 5, `{"n":3}`)
		}
	}
	var held atomic.Bool
	g.b.Faults(func(r *esapi.Request) estest.Fault {
		for end := time.Now().Add(soon); r.Path == "/_bulk" && held.Load() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if r.Path == "/_bulk" {
			return estest.Fault{Delay: 5 * time.Millisecond}
		}
		return estest.Fault{}
	})
	for n := range 4 {
		g.drained() // a bulk that is held would keep the wish from being read
		held.Store(true)
		if _, err := g.r.Resync(t.Context(), []string{"books-*"}); err != nil {
			t.Fatal(err)
		}
		refused := new(SwitchError)
		if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) || len(refused.NextSteps) == 0 || !strings.Contains(refused.Reason, "resync") && refused != errUnderway {
			t.Errorf("%v", err)
		}
		held.Store(false)
		time.Sleep(20 * time.Millisecond)
		for i := range 10 {
			index := fmt.Sprintf("books-%d", i%3)
			g.must("PUT", fmt.Sprintf("/%s/doc/%05d", index, 10*i+n+1), `{"n":-1}`)
			if _, _, err := g.send("DELETE", fmt.Sprintf("/%s/doc/%05d", index, 10*i+n+150), ""); err != nil {
				t.Fatal(err)
			}
			g.a.Set(index, fmt.Sprintf("beside-%d-%d", n, i), "", 1, `{"n":4}`)
		}
		if n < 3 {
			g.restart()
		}
	}
	if _, err := g.r.Resync(t.Context(), []string{"books-*"}); err != nil {
		t.Fatal(err)
	}
	g.resynced()
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Error(err)
	}
}

// What was asked for while an index is copied begins anew after a kill.
func TestResyncAskedForMeanwhile(t *testing.T) {
	t.Parallel()
	g := newRig(t, v68, v87)
	g.fill("a", 50)
	g.fill("b", 50)
	stuck := func(with string) func(r *esapi.Request) estest.Fault {
		return func(r *esapi.Request) estest.Fault {
			if r.Path == "/_bulk" && strings.Contains(string(r.Body), with) {
				return estest.Fault{Status: 503}
			}
			return estest.Fault{}
		}
	}
	g.b.Faults(stuck(""))
	for i, name := range []string{"a", "b"} { // the one before the other
		if _, err := g.r.Resync(t.Context(), []string{name}); err != nil {
			t.Fatal(err)
		}
		wait(t, func() bool { return g.r.Status(t.Context()).ResyncWaiting == i+1 })
	}
	g.b.Faults(stuck(`"b"`))
	for deadline := time.Now().Add(soon); len(g.b.Docs()) < 50; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a is not copied")
		}
	}
	g.a.Set("a", "late", "", 1, `{"n":1}`)
	if _, err := g.r.Resync(t.Context(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if s := g.r.Status(t.Context()); s.ResyncWaiting == 0 || s.Resync == nil || len(s.NextSteps) == 0 {
		t.Errorf("%+v", s)
	}
	g.restart()
	g.b.Faults(nil)
	g.resynced()
}

// An index that cannot be read waits; an operator may go on without it.
func TestResyncThatCannotBe(t *testing.T) {
	g := newRig(t, v68, v87)
	g.fill("books", 10)
	g.fill("closed", 10)
	g.beside(g.a, "POST", "/closed/_close", "")
	if _, err := g.r.Resync(t.Context(), []string{"closed", "books"}); err != nil {
		t.Fatal(err)
	}
	j := g.waitJob(JobResync, JobFailed)
	if !strings.Contains(j.Error, "closed") || len(j.NextSteps) == 0 {
		t.Errorf("%+v", j)
	}
	if got := g.b.Docs(); len(got) != 10 {
		t.Errorf("%d documents", len(got))
	}
	refused := new(SwitchError)
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if _, err := g.r.CancelResync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.r.Switchover(t.Context(), SwitchRequest{Master: "b"}); err != nil {
		t.Errorf("%v", err)
	}
}

// The wish of an index that is gone removes it, and one of an alias that the
// follower has is not taken for an index.
func TestResyncOfWhatIsGone(t *testing.T) {
	t.Parallel()
	g := newRig(t, v68, v56)
	g.must("PUT", "/books/doc/1", `{"n":1}`)
	g.must("PUT", "/gone/doc/1", `{"n":1}`)
	g.equal()
	g.beside(g.a, "DELETE", "/gone", "")
	g.beside(g.b, "PUT", "/books/_alias/ali", "")
	for _, name := range []string{"gone", "ali"} {
		if err := g.r.askForResync(t.Context(), g.r.gate.now(), name); err != nil {
			t.Fatal(err)
		}
	}
	g.resynced()
	if got := g.b.Indices(); !reflect.DeepEqual(got, []string{"books"}) {
		t.Errorf("%v", got)
	}
}
