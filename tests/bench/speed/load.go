package speed

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// slot stands in a shot's text where a number of ten digits goes.
const slot = "##########"

// A shot is a request that is sent again and again with other numbers in it, and
// what shows that an answer is to it and no other.
type shot struct {
	bytes []byte
	slots []int // where the numbers go
	wrap  int64 // what numbers are below; 0: there is no bound

	mark  string // stands in front of each number in the answer, and nowhere else
	times int    // how often each number is there
	must  string // stands in the answer, too
}

// newShot makes the bytes of a request; slots in path and body are filled in later.
func newShot(method, path, contentType, body string) *shot {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nhost: cluster\r\n", method, path)
	if body != "" {
		text += fmt.Sprintf("content-type: %s\r\ncontent-length: %d\r\n", contentType, len(body))
	}
	s := &shot{bytes: []byte(text + "\r\n" + body), mark: `"_id":"`, times: 1}
	for from := 0; ; {
		i := bytes.Index(s.bytes[from:], []byte(slot))
		if i < 0 {
			return s
		}
		s.slots = append(s.slots, from+i)
		from += i + len(slot)
	}
}

// number is what goes into slot i of request n.
func (s *shot) number(n int64, i int) int64 {
	number := n*int64(len(s.slots)) + int64(i)
	if s.wrap > 0 {
		number %= s.wrap
	}
	return number
}

// fill writes the numbers of request n into its bytes.
func (s *shot) fill(b []byte, n int64) {
	for i, at := range s.slots {
		digits(b[at:at+len(slot)], s.number(n, i))
	}
}

// digits writes a number of ten digits.
func digits(b []byte, n int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

// check sees that an answer is to request n and says that all went well.
func (s *shot) check(status int, body []byte, n int64) error {
	if status != 200 && status != 201 || !bytes.Contains(body, []byte(s.must)) {
		return fmt.Errorf("answered %d %.500s", status, body)
	}
	var want [len(slot)]byte
	rest, found := body, false
	for i := range s.slots {
		digits(want[:], s.number(n, i))
		for range s.times {
			if _, rest, found = bytes.Cut(rest, []byte(s.mark)); !found || !bytes.HasPrefix(rest, want[:]) {
				return fmt.Errorf("the answer is not to the request: %s%s is missing in %.500s", s.mark, want, body)
			}
		}
	}
	if bytes.Contains(rest, []byte(s.mark)) {
		return fmt.Errorf("the answer is not to the request: %s is there more often than asked for in %.500s", s.mark, body)
	}
	return nil
}

// A connection asks one thing at a time.
type connection struct {
	net.Conn
	in   *bufio.Reader
	out  []byte // the request
	body []byte // of the last answer
}

func (s *shot) dial(ctx context.Context, addr string, deadline time.Time) (*connection, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	return &connection{Conn: c, in: bufio.NewReaderSize(c, 64<<10), out: bytes.Clone(s.bytes)}, nil
}

// ask sends request n and looks at the answer.
func (c *connection) ask(s *shot, n int64) error {
	s.fill(c.out, n)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	status, err := c.read()
	if err != nil {
		return err
	}
	return s.check(status, c.body, n)
}

// read reads an answer, all of it and nothing more.
func (c *connection) read() (status int, err error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("not an answer: %.100q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, err := c.fields()
	if err != nil {
		return 0, err
	}
	c.body = c.body[:0]
	if length >= 0 {
		err = c.more(length)
	} else {
		err = c.chunks()
	}
	if err == nil && c.in.Buffered() > 0 {
		err = errors.New("there is more than one answer")
	}
	return status, err
}

func (c *connection) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// fields reads the header; the length is -1 if the body comes in chunks.
func (c *connection) fields() (length int, err error) {
	length = -2
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case equal(name, "content-length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, fmt.Errorf("not an answer: %.100q", line)
			}
		case equal(name, "transfer-encoding") && equal(value, "chunked"):
			length = -1
		case equal(name, "connection") && equal(value, "close"):
			return 0, errors.New("the connection is to be closed: what was opened anew would be measured")
		}
	}
	if length == -2 {
		return 0, errors.New("the answer has no length")
	}
	return length, nil
}

func equal(a []byte, b string) bool { return strings.EqualFold(string(a), b) }

// more reads so many bytes into the body.
func (c *connection) more(n int) error {
	have := len(c.body)
	if cap(c.body) < have+n {
		c.body = append(make([]byte, 0, 2*(have+n)), c.body...)
	}
	c.body = c.body[:have+n]
	_, err := io.ReadFull(c.in, c.body[have:])
	return err
}

func (c *connection) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("not a chunk: %.100q", line)
		}
		if err := c.more(int(size)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) != 0 {
			return fmt.Errorf("not the end of a chunk: %.100q %w", line, err)
		}
		if size == 0 {
			return nil
		}
	}
}

// A load is sent to an address for a time.
type load struct {
	addr         string
	shot         *shot
	connections  int
	warm, period time.Duration // what is measured is the period, after it was warm
	rate         float64       // requests a second that are due; 0: each connection sends as soon as it is answered
	patience     time.Duration // how much later than the period it is sent what was due; if zero, a second

	begin, end func() // called when the measured time begins and ends
}

// A sample is what came of it in the measured time.
type sample struct {
	requests  int
	took      time.Duration
	latencies []float64 // in milliseconds; from when a request was due, whenever it was sent
}

// phases of a run.
const (
	warming = iota
	measuring
	over
)

// A run is a load on its way.
type run struct {
	*load
	began    time.Time
	next     atomic.Int64
	phase    atomic.Int32
	answered atomic.Int64 // in the measured time
	fail     context.CancelCauseFunc

	mu        sync.Mutex
	latencies []float64
}

// send sends the load. The first error ends it.
func (l *load) send(ctx context.Context) (sample, error) {
	if l.rate > 0 { // at least one is due for each connection
		l.period = max(l.period, time.Duration(float64(l.connections)/l.rate*float64(time.Second)))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{load: l, fail: cancel}
	connections := make([]*connection, l.connections)
	for i := range connections {
		c, err := l.shot.dial(ctx, l.addr, time.Now().Add(time.Minute+10*l.period))
		if err != nil {
			return sample{}, err
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		connections[i] = c
	}
	var workers sync.WaitGroup
	r.began = time.Now()
	for _, c := range connections {
		workers.Go(func() {
			if err := r.work(ctx, c); err != nil {
				r.fail(err)
			}
		})
	}
	wait(ctx, l.warm)
	l.begin()
	r.phase.Store(measuring)
	measured := time.Now()
	if l.rate == 0 {
		// Big bulks over many connections may take longer than the period, each.
		for wait(ctx, l.period); r.answered.Load() < int64(l.connections) && time.Since(measured) < 5*l.period+10*time.Second && ctx.Err() == nil; {
			wait(ctx, 5*time.Millisecond)
		}
		r.phase.Store(over)
	} else {
		workers.Wait()
	}
	s := sample{took: time.Since(measured)}
	if l.rate > 0 { // the last one may have been due before the end
		s.took = max(s.took, l.period)
	}
	l.end()
	workers.Wait()
	s.requests, s.latencies = int(r.answered.Load()), r.latencies
	if err := context.Cause(ctx); err != nil {
		return s, err
	}
	if s.requests == 0 {
		return s, errors.New("nothing was answered in the measured time: set a longer -period")
	}
	return s, nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// work sends what is next on one connection.
func (r *run) work(ctx context.Context, c *connection) error {
	var took []float64
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.latencies = append(r.latencies, took...)
	}()
	for ctx.Err() == nil && r.phase.Load() != over {
		n := r.next.Add(1) - 1
		due, counted, end := r.due(ctx, n)
		if end {
			return nil
		}
		if r.rate > 0 && time.Since(due) > r.period+cmp.Or(r.patience, time.Second) { // it is hopeless: how late this is shows enough
			took = append(took, ms(time.Since(due)))
			continue
		}
		if err := c.ask(r.shot, n); err != nil {
			return err
		}
		if r.rate == 0 {
			counted = r.phase.Load() == measuring
		}
		if counted {
			took = append(took, ms(time.Since(due)))
			r.answered.Add(1)
		}
	}
	return nil
}

// due waits for the time of request n.
func (r *run) due(ctx context.Context, n int64) (due time.Time, counted, end bool) {
	if r.rate == 0 {
		return time.Now(), false, false
	}
	after := time.Duration(float64(n) / r.rate * float64(time.Second))
	due = r.began.Add(after)
	if after >= r.warm+r.period {
		return due, false, true
	}
	if d := time.Until(due); d > 0 {
		wait(ctx, d)
	}
	return due, after >= r.warm, false
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
