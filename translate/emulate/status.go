package emulate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// counts are what a job, or a slice of it, has done so far.
type counts struct {
	total, updated, created, deleted int64
	batches, conflicts, noops        int64
	bulkRetries, searchRetries       int64
	throttled                        time.Duration
	rate                             float32
	waitsUntil                       time.Time // of a pause
	slice                            int       // -1: the job has none
	done                             bool
}

// processed is how many documents were changed.
func (c *counts) processed() int64 { return c.updated + c.created + c.deleted }

func (c *counts) add(o counts, now time.Time) {
	c.total += o.total
	c.updated += o.updated
	c.created += o.created
	c.deleted += o.deleted
	c.batches += o.batches
	c.conflicts += o.conflicts
	c.noops += o.noops
	c.bulkRetries += o.bulkRetries
	c.searchRetries += o.searchRetries
	c.throttled += o.throttled
	switch {
	case o.rate == unlimited || c.rate == unlimited:
		c.rate = unlimited
	default:
		c.rate += o.rate
	}
	if o.waitsUntil.After(now) && (c.waitsUntil.IsZero() || o.waitsUntil.Before(c.waitsUntil)) {
		c.waitsUntil = o.waitsUntil
	}
}

// A progress is what a job has done, slice by slice. It is safe for concurrent
// use.
type progress struct {
	mu       sync.Mutex
	sliced   bool
	parts    []counts
	canceled string
}

// change changes the counts of one slice.
func (p *progress) change(slice int, f func(*counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.parts[slice])
}

func (p *progress) of(slice int) counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts[slice]
}

// divide makes room for the slices. A job that is one slice of what its client
// does by several has its number.
func (p *progress) divide(n int, rate float32, own int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts = make([]counts, n)
	for i := range p.parts {
		p.parts[i] = counts{slice: i, rate: share(rate, n)}
	}
	if p.sliced = n > 1; !p.sliced {
		p.parts[0].slice = own
	}
}

// share is a slice's part of the rate.
func share(rate float32, n int) float32 {
	if rate == unlimited {
		return unlimited
	}
	return rate / float32(n)
}

// A form says how a status is written.
type form struct {
	updated, created bool
	human            bool // times for people, too (since 6.0, in stored results)
	running          bool // slices that are not at an end are not told
}

// write appends the members of a status.
func (p *progress) write(b *strings.Builder, f form) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	all := p.parts[0]
	if p.sliced {
		all = counts{slice: -1}
		for _, c := range p.parts {
			if !f.running || c.done {
				all.add(c, now)
			}
		}
	}
	all.write(b, f, p.canceled, now)
	if !p.sliced {
		return
	}
	b.WriteString(`,"slices":[`)
	for i, c := range p.parts {
		if i > 0 {
			b.WriteByte(',')
		}
		if f.running && !c.done {
			b.WriteString("null")
			continue
		}
		b.WriteByte('{')
		c.write(b, f, p.canceled, now)
		b.WriteByte('}')
	}
	b.WriteByte(']')
}

func (c *counts) write(b *strings.Builder, f form, canceled string, now time.Time) {
	if c.slice >= 0 {
		fmt.Fprintf(b, `"slice_id":%d,`, c.slice)
	}
	fmt.Fprintf(b, `"total":%d,`, c.total)
	if f.updated {
		fmt.Fprintf(b, `"updated":%d,`, c.updated)
	}
	if f.created {
		fmt.Fprintf(b, `"created":%d,`, c.created)
	}
	fmt.Fprintf(b, `"deleted":%d,"batches":%d,"version_conflicts":%d,"noops":%d,"retries":{"bulk":%d,"search":%d},`,
		c.deleted, c.batches, c.conflicts, c.noops, c.bulkRetries, c.searchRetries)
	if f.human {
		fmt.Fprintf(b, `"throttled":%q,`, human(c.throttled))
	}
	fmt.Fprintf(b, `"throttled_millis":%d,"requests_per_second":%s,`, c.throttled.Milliseconds(), float(c.rate))
	if canceled != "" {
		b.WriteString(`"canceled":` + quote(canceled) + `,`)
	}
	until := max(c.waitsUntil.Sub(now), 0)
	if c.waitsUntil.IsZero() {
		until = 0
	}
	if f.human {
		fmt.Fprintf(b, `"throttled_until":%q,`, human(until))
	}
	fmt.Fprintf(b, `"throttled_until_millis":%d`, until.Milliseconds())
}

// float writes a number as Java does.
func float(f float32) string {
	s := strconv.FormatFloat(float64(f), 'f', -1, 32)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// human writes a length of time as Elasticsearch does for people: 0s, 40.2ms,
// 1.5m.
func human(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "micros"}} {
		if d >= u.unit {
			n := math.Floor(float64(d)/float64(u.unit)*10) / 10
			return strconv.FormatFloat(n, 'f', -1, 64) + u.name
		}
	}
	if d == 0 {
		return "0s"
	}
	return strconv.FormatInt(int64(d), 10) + "nanos"
}
