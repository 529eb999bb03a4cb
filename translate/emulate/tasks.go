package emulate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Tasks are the jobs of a process that runs gateways. They outlive a gateway's
// configuration. It is safe for concurrent use.
type Tasks struct {
	node   string
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	last    int64
	active  map[string]*Task
	kept    []*Task // at an end, with results that can be asked for; the oldest first
	size    int     // of the kept results in bytes
	closed  bool
	workers sync.WaitGroup
}

// Bounds of what is kept.
const (
	maxActive   = 500
	maxKept     = 1000
	maxKeptSize = 16 << 20
	maxKeptTime = 24 * time.Hour
)

// NewTasks makes an empty list of tasks.
func NewTasks() *Tasks {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	t := &Tasks{node: base64.RawURLEncoding.EncodeToString(id[:]), active: map[string]*Task{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Close ends the jobs that run, and waits for them.
func (t *Tasks) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.workers.Wait()
}

// A Task is a job while it runs, and its result for a while.
type Task struct {
	job    *job
	node   string
	number int64
	began  time.Time
	done   chan struct{}

	progress progress
	result   result // once done
	err      error  // once done
	took     time.Duration
	stored   string // what GET _tasks answers once done

	mu          sync.Mutex
	canceled    chan struct{}
	wasCanceled bool
	perSecond   float32
	rateChanged chan struct{}
}

func (t *Task) id() string { return t.node + ":" + strconv.FormatInt(t.number, 10) }

// start runs a job.
func (t *Tasks) start(e *Emulator, j *job) (*Task, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, esapi.Unavailable("the gateway is ending; nothing was changed, try again")
	}
	if len(t.active) >= maxActive {
		return nil, &esapi.Error{Status: http.StatusTooManyRequests, Type: "es_rejected_execution_exception",
			Reason: fmt.Sprintf("%d jobs by query run already, more than the gateway carries out at once; nothing was changed, try again", maxActive)}
	}
	t.last++
	task := &Task{job: j, node: t.node, number: t.last, began: time.Now(), done: make(chan struct{}), canceled: make(chan struct{}), perSecond: j.rate, rateChanged: make(chan struct{})}
	rate := j.rate
	if j.dialect.AtLeast(v6) {
		rate = 0 // until the search begins
	}
	task.progress.divide(1, rate, j.sliceID())
	t.active[task.id()] = task
	t.workers.Add(1)
	go func() {
		defer t.workers.Done()
		task.run(t.ctx, e)
		t.ended(task)
	}()
	return task, nil
}

func (t *Task) run(ctx context.Context, e *Emulator) {
	defer close(t.done)
	t.err = safely(func() error { return e.carryOut(ctx, t) })
	if t.err != nil && ctx.Err() != nil {
		c := t.progress.sum()
		t.err = esapi.Unavailable(fmt.Sprintf("the gateway ended before the job did; %d documents of %d were changed, send the request again for the others", c.processed(), c.total))
	}
	t.took = time.Since(t.began)
	if !t.job.wait {
		t.stored = t.finished()
	}
}

// sum is what all slices have done.
func (p *progress) sum() counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := counts{}
	for _, c := range p.parts {
		all.add(c, time.Now())
	}
	return all
}

// ended keeps the result of a task that somebody may ask for.
func (t *Tasks) ended(task *Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.active, task.id())
	if task.job.wait {
		return
	}
	t.kept = append(t.kept, task.settled())
	t.size += len(task.stored)
	t.forget()
}

// settled is what is kept of a task at its end: not what the client sent, its
// credentials among it, nor what the result was made of.
func (t *Task) settled() *Task {
	return &Task{job: &job{kind: t.job.kind, dialect: t.job.dialect}, node: t.node, number: t.number, began: t.began, took: t.took, stored: t.stored, done: t.done}
}

// forget drops results that are too old or too many. The lock is held.
func (t *Tasks) forget() {
	for len(t.kept) > 0 {
		oldest := t.kept[0]
		if len(t.kept) <= maxKept && t.size <= maxKeptSize && time.Since(oldest.began.Add(oldest.took)) < maxKeptTime {
			return
		}
		t.size -= len(oldest.stored)
		t.kept[0] = nil
		t.kept = t.kept[1:]
	}
}

func (t *Tasks) owns(id string) bool { return strings.HasPrefix(id, t.node+":") }

// running is the number of tasks that are not at an end.
func (t *Tasks) running() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.active)
}

// find returns a task that runs, or one whose result is kept.
func (t *Tasks) find(id string) *Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	if task := t.active[id]; task != nil {
		return task
	}
	for _, task := range t.kept {
		if task.id() == id {
			return task
		}
	}
	return nil
}

// list returns the tasks that run, the oldest first.
func (t *Tasks) list() []*Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Collect(maps.Values(t.active))
	slices.SortFunc(list, func(a, b *Task) int { return cmp.Compare(a.number, b.number) })
	return list
}

func (t *Task) isCanceled() bool {
	select {
	case <-t.canceled:
		return true
	default:
		return false
	}
}

// isDone reports whether the task is at an end.
func (t *Task) isDone() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (t *Task) cancelNow() {
	t.mu.Lock()
	if !t.wasCanceled {
		t.wasCanceled = true
		t.progress.mu.Lock()
		t.progress.canceled = "by user request"
		t.progress.mu.Unlock()
		close(t.canceled)
	}
	t.mu.Unlock()
	t.setRate(unlimited) // as Elasticsearch does
}

func (t *Task) rate() float32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.perSecond
}

// rateChange is closed when the rate is changed.
func (t *Task) rateChange() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rateChanged
}

func (t *Task) setRate(rate float32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.perSecond = rate
	p := &t.progress
	p.mu.Lock()
	for i := range p.parts {
		p.parts[i].rate = share(rate, len(p.parts))
	}
	p.mu.Unlock()
	close(t.rateChanged)
	t.rateChanged = make(chan struct{})
}

// answer is what a client gets that has waited for the job.
func (t *Task) answer() (*esapi.Response, error) {
	if a := new(answerError); errors.As(t.err, &a) {
		return esapi.NewResponse(a.status, a.body), nil
	}
	if t.err != nil {
		return nil, t.err
	}
	return esapi.NewResponse(max(t.result.status, http.StatusOK), []byte(t.response(form{updated: t.job.updated, created: t.job.created}))), nil
}

// response is the answer's body.
func (t *Task) response(f form) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"took":%d,"timed_out":%t,`, t.took.Milliseconds(), t.result.timedOut)
	t.progress.write(&b, f)
	b.WriteString(`,"failures":[` + strings.Join(t.result.failures, ",") + `]}`)
	return b.String()
}

// finished is what GET _tasks answers for a task that is at an end.
func (t *Task) finished() string {
	head := `{"completed":true,"task":` + t.info(true, false)
	if t.err == nil {
		return head + `,"response":` + t.response(form{updated: true, created: true, human: t.job.dialect.AtLeast(v6)}) + `}`
	}
	return head + `,"error":` + t.errorObject() + `}`
}

// errorObject is the error of a job without its envelope.
func (t *Task) errorObject() string {
	if a := new(answerError); errors.As(t.err, &a) {
		e := bodyOf(a.body).get("error")
		if !e.IsObject() {
			return `{"type":"exception","reason":` + quote(string(a.body)) + `}`
		}
		inner := bodyOf([]byte(e.Raw))
		inner.take("root_cause")
		return string(inner.rest())
	}
	return string(esapi.AsError(t.err).ObjectJSON())
}

// info is the task as lists show it; in detail with status and description.
func (t *Task) info(detail, running bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"node":%q,"id":%d,"type":"transport","action":%q,`, t.node, t.number, t.job.action)
	if detail {
		b.WriteString(`"status":{`)
		t.progress.write(&b, form{updated: true, created: true, running: running})
		b.WriteString(`},"description":` + quote(t.job.description) + `,`)
	}
	fmt.Fprintf(&b, `"start_time_in_millis":%d,"running_time_in_nanos":%d,"cancellable":true`, t.began.UnixMilli(), time.Since(t.began).Nanoseconds())
	if t.job.dialect.AtLeast(esapi.V(7, 12)) {
		fmt.Fprintf(&b, `,"cancelled":%t`, t.isCanceled())
	}
	if t.job.dialect.AtLeast(v6) {
		b.WriteString(`,"headers":{}`)
	}
	b.WriteByte('}')
	return b.String()
}
