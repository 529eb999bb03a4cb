package backfill

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/tests/check"
)

var pairs = [][2]string{{"5.6.16", "8.7.1"}, {"8.7.1", "5.6.16"}}

func eachPair(t *testing.T, f func(t *testing.T, r *rig)) {
	for _, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) { f(t, newRig(t, p[0], p[1])) })
	}
}

// writers change, create and delete documents through the gateway until stop is
// called. A gateway that is being started again is waited for.
func (r *rig) writers(index string, n int) (count func() (writes, deletes int64), stop func()) {
	var written, deleted atomic.Int64
	var writing sync.WaitGroup
	ctx, cancel := context.WithCancel(r.t.Context())
	for range 4 {
		writing.Go(func() {
			for ctx.Err() == nil {
				i := rand.N(n + n/10 + 1)
				path := r.doc(index, fmt.Sprint(i))
				if i < n && i%10 == 0 {
					path += "?routing=r"
				}
				method, body, count := "PUT", fmt.Sprintf(`{"n":%d,"title":"written later"}`, rand.N(1000)), &written
				if rand.N(3) == 0 {
					method, body, count = "DELETE", "", &deleted
				}
				// Not ctx: a write that is under way at the end is waited for.
				status, _, err := r.g.Request(r.t.Context(), method, path, body)
				if err == nil && (status < 300 || status == 404) {
					count.Add(1)
				} else if ctx.Err() == nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return func() (int64, int64) { return written.Load(), deleted.Load() }, func() {
		cancel()
		writing.Wait()
	}
}

// What was there before a gateway existed reaches the follower, while writers
// and deleters go on and the gateway is killed.
func TestEverythingIsCopied(t *testing.T) {
	eachPair(t, func(t *testing.T, r *rig) {
		n := *documents
		r.send(r.a, "PUT", "/"+r.prefix+"books", `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"3s"},"aliases":{"`+r.prefix+`all":{"routing":"r"}},
			"mappings":`+r.mapping(`{"properties":{"code":{"type":"keyword"},"title":{"type":"text"}}}`)+`}`)
		r.load(r.prefix+"books", n)
		r.send(r.a, "PUT", "/"+r.prefix+"closed", `{}`)
		for i := range 5 {
			r.load(fmt.Sprintf("%ssmall-%d", r.prefix, i), 30)
		}
		r.send(r.a, "POST", "/"+r.prefix+"closed/_close", "")
		r.start()

		count, stop := r.writers(r.prefix+"books", n)
		copied := make(chan filled, 1)
		go func() { copied <- r.backfill("--docs-per-second", fmt.Sprint(n/12)) }()
		const kills = 3
		for k := range kills {
			r.reaches(int64(n) * int64(k+1) / (kills + 2))
			r.kill()
		}
		f := <-copied
		if f.status != 1 || f.job.State != replicate.JobFailed || len(f.Skipped) != 1 || f.Skipped[0].Index != r.prefix+"closed" {
			t.Fatalf("an index was closed: %d %s", f.status, f.out)
		}
		// On a slow machine the writers may not have got far yet, and there is one more index to come.
		writes, deletes := count()
		for end := time.Now().Add(3 * time.Minute); (writes < 100 || deletes < 30) && time.Now().Before(end); writes, deletes = count() {
			time.Sleep(100 * time.Millisecond)
		}
		r.send(r.a, "POST", "/"+r.prefix+"closed/_open", "")
		if f := r.command("resume"); f.status != 0 {
			t.Errorf("%s", f.out)
		}
		f = r.backfill("status")
		r.done(f)
		stop()
		writes, deletes = count()
		t.Logf("%d documents, %d writes and %d deletes meanwhile, %d kills", n, writes, deletes, kills)
		if writes < 100 || deletes < 30 {
			t.Error("the writers hardly wrote")
		}
		r.waitApplied()
		check.EqualPrefix(t, r.a, r.b, r.prefix)
		if s, err := r.g.Status(t.Context()); err != nil || s.DeadLetters != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		for path, want := range map[string]string{
			"books/_settings": `"refresh_interval":"3s"`, "books/_alias": `"index_routing":"r"`, "books/_mapping": `"code":{"type":"keyword"}`,
		} {
			if answer := string(r.send(r.b, "GET", "/"+r.prefix+path, "")); !strings.Contains(answer, want) {
				t.Errorf("%s: %s", path, answer)
			}
		}
	})
}

// reaches waits until a backfill that is under way has come to some documents.
func (r *rig) reaches(n int64) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var j replicate.Job
		var p replicate.BackfillProgress
		_, answer, err := r.g.AdminRequest(r.t.Context(), "GET", "/esperanto/backfill", "")
		if err == nil && json.Unmarshal(answer, &j) == nil && json.Unmarshal(j.Progress, &p) == nil && p.Documents >= n {
			return
		}
		if j.State.Ended() && j.State != "none" && j.State != "" {
			r.t.Errorf("it has ended before: %s", answer)
			return
		}
	}
	r.t.Fatalf("it does not come to %d documents", n)
}

// Documents that were deleted after a scroll had shown them, and whose deletion
// the follower has forgotten, do not come back.
func TestForgottenDeletions(t *testing.T) {
	eachPair(t, func(t *testing.T, r *rig) {
		const n = 3000
		index := r.prefix + "books"
		r.send(r.a, "PUT", "/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,"gc_deletes":"500ms"}}`)
		r.load(index, n)
		r.start()
		copied := make(chan filled, 1)
		go func() { copied <- r.backfill("--docs-per-second", "500", "--slices", "1") }()
		var f filled
		for i, running := 1, true; running && i < n; i += 3 {
			select {
			case f = <-copied:
				running = false
			default:
				if i%10 == 0 {
					continue
				}
				status, answer, err := r.g.Request(t.Context(), "DELETE", r.doc(index, fmt.Sprint(n-i)), "")
				if err != nil || (status != 200 && status != 404) {
					t.Fatalf("%d %s %v", status, answer, err)
				}
			}
		}
		if f.out == "" {
			f = <-copied
		}
		r.done(f)
		r.waitApplied()
		check.EqualPrefix(t, r.a, r.b, r.prefix)
		if f.Gone == 0 || f.Again == 0 {
			t.Errorf("no old page was read again: %+v", f.BackfillProgress)
		}
	})
}

// What an operator does to a backfill, by the command and the admin endpoint.
func TestOperating(t *testing.T) {
	r := newRig(t, "5.6.16", "8.7.1")
	r.load(r.prefix+"books", 2000)
	r.send(r.a, "PUT", "/_template/"+r.prefix+"template", `{"template":"`+r.prefix+`books*","mappings":{"doc":{"properties":{"later":{"type":"keyword"}}}}}`)
	t.Cleanup(func() { _, _, _ = r.a.Request(context.Background(), "DELETE", "/_template/"+r.prefix+"template", "") })
	r.start()
	ctx := t.Context()
	ask := func(method, path, body string, want int) replicate.Job {
		t.Helper()
		status, answer, err := r.g.AdminRequest(ctx, method, "/esperanto/"+path, body)
		if err != nil || status != want {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
		var j replicate.Job
		if err := json.Unmarshal(answer, &j); err != nil && want == 200 {
			t.Fatal(err)
		}
		return j
	}
	progress := func() (p replicate.BackfillProgress) {
		j := ask("GET", "backfill", "", 200)
		_ = json.Unmarshal(j.Progress, &p)
		return p
	}
	if j := ask("GET", "backfill", "", 200); j.State != "none" || len(j.NextSteps) != 1 {
		t.Errorf("%+v", j)
	}
	ask("POST", "backfill", `{"indexes":["books"]}`, 400)
	ask("POST", "backfill", `{"indices":["`+r.prefix+`missing"]}`, 409)
	ask("POST", "backfill", `{"indices":["`+r.prefix+`*"],"query":{"no_such_query":{}}}`, 409)
	ask("POST", "backfill/pause", "", 409)

	if f := r.command("--indices", r.prefix+"*", "--docs-per-second", "20", "--detach"); f.status != 0 || !strings.Contains(f.out, `"running"`) {
		t.Fatalf("%d %s", f.status, f.out)
	}
	if f := r.command("--indices", r.prefix+"other*"); f.status != 1 {
		t.Errorf("another one was begun: %s", f.out)
	}
	if out, err := r.g.Command(ctx, "switch", "target", "--dry-run"); err == nil || !strings.Contains(err.Error(), "cancel the backfill") {
		t.Errorf("%s %v", out, err)
	}
	for end := time.Now().Add(3 * time.Minute); progress().Documents == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if j := ask("POST", "backfill/pause", "", 200); j.State != replicate.JobPaused {
		t.Errorf("%+v", j)
	}
	at := progress().Documents
	for end, before := time.Now().Add(3*time.Minute), int64(-1); at != before && time.Now().Before(end); at = progress().Documents { // a page may be under way
		before = at
		time.Sleep(time.Second)
	}
	if out, err := r.g.Reload(ctx); err != nil {
		t.Errorf("%s %v", out, err)
	}
	time.Sleep(time.Second)
	if now := progress().Documents; now != at || at == 0 || at == 2000 {
		t.Errorf("%d documents, %d before", now, at)
	}
	if out, err := r.g.Command(ctx, "status"); err != nil || !strings.Contains(out, "backfill paused") {
		t.Errorf("%s %v", out, err)
	}
	ask("POST", "backfill/resume", "", 200)
	if out, err := r.g.Reload(ctx); err != nil {
		t.Errorf("%s %v", out, err)
	}
	_, metrics, err := r.g.AdminRequest(ctx, "GET", "/metrics", "")
	if err != nil || !strings.Contains(string(metrics), `esperanto_backfill_running{gateway="default"} 1`) {
		t.Errorf("%.3000s %v", metrics, err)
	}
	if j := ask("POST", "backfill/cancel", "", 200); j.State != replicate.JobCancelled {
		t.Errorf("%+v", j)
	}
	if f := r.command("status"); f.status != 1 {
		t.Errorf("%s", f.out)
	}
	// Everything, definitions included, in words.
	f := r.command()
	if f.status != 0 || !strings.Contains(f.out, "backfill done") || !strings.Contains(f.out, "next: see that both clusters hold the same") {
		t.Errorf("%d %s", f.status, f.out)
	}
	if answer := string(r.send(r.b, "GET", "/_template/"+r.prefix+"template", "")); !strings.Contains(answer, `"later":{"type":"keyword"}`) {
		t.Errorf("%s", answer)
	}
	check.EqualPrefix(t, r.a, r.b, r.prefix)
	if out, err := r.g.Command(ctx, "switch", "target"); err != nil {
		t.Errorf("%s %v", out, err)
	}
}
