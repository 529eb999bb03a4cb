package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// A Report says what the requests that were looked at need on the cluster that
// the application is to use.
type Report struct {
	From    string `json:"from,omitempty"`    // the version that the application speaks
	To      string `json:"to,omitempty"`      // that of the cluster
	Cluster string `json:"cluster,omitempty"` // that the application is to use

	Share float64    `json:"share"` // of the requests that are looked at
	Since time.Time  `json:"since"`
	Last  *time.Time `json:"last,omitempty"`

	Requests Requests `json:"requests"`

	// Who has to do something: see Group.
	Application []Need `json:"application"`
	Library     []Need `json:"library"`
	Answers     []Need `json:"answers"`

	Compare *Comparison `json:"compare,omitempty"`

	NextSteps []string `json:"next_steps"`
}

// Requests counts what was looked at.
type Requests struct {
	LookedAt  uint64 `json:"looked_at"`
	Needing   uint64 `json:"needing_changes"`     // of the application
	Skipped   uint64 `json:"skipped"`             // beyond what is looked at in a second
	Dropped   uint64 `json:"dropped"`             // as too many waited
	TooLarge  uint64 `json:"too_large"`           // bodies that are not kept, or cannot be read
	Unknown   uint64 `json:"unknown"`             // as a cluster could not be asked
	Uncounted uint64 `json:"uncounted,omitempty"` // as there are too many rows
}

// A Need is one change, and where it was needed.
type Need struct {
	ID       string  `json:"id,omitempty"`
	Name     string  `json:"name,omitempty"`
	Since    string  `json:"since,omitempty"`
	Fidelity string  `json:"fidelity"`
	Doc      string  `json:"doc"`
	Loses    string  `json:"loses,omitempty"`
	Count    uint64  `json:"count"`
	Where    []Place `json:"where"`
}

// A Place is one API of one index that requests with a change went to.
type Place struct {
	Index   string    `json:"index"`
	API     string    `json:"api"`
	Count   uint64    `json:"count"`
	Refused uint64    `json:"refused,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	First   time.Time `json:"first_seen"`
	Last    time.Time `json:"last_seen"`
	Example *Example  `json:"example,omitempty"`
}

// A Comparison says how reads were answered by both clusters.
type Comparison struct {
	Share         float64        `json:"share"` // of the reads that are compared
	Equal         uint64         `json:"equal"`
	Settled       uint64         `json:"settled"` // differed, but not when they were asked again
	Different     uint64         `json:"different"`
	NotComparable uint64         `json:"not_comparable"`
	Dropped       uint64         `json:"dropped"`
	Where         []ComparedRead `json:"where"`
}

// A ComparedRead is one API of one index whose reads were compared.
type ComparedRead struct {
	Index         string     `json:"index"`
	API           string     `json:"api"`
	Equal         uint64     `json:"equal"`
	Settled       uint64     `json:"settled"`
	Different     uint64     `json:"different"`
	NotComparable uint64     `json:"not_comparable"`
	First         *time.Time `json:"first_seen,omitempty"`
	Last          *time.Time `json:"last_seen,omitempty"`
	Samples       []Sample   `json:"samples,omitempty"`
}

// Report is what is known now.
func (w *Watch) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.now()
	r := Report{
		From: s.From, To: s.To, Cluster: w.To.Name(), Share: float64(w.share.Load()) / 1e6, Since: s.Since,
		Requests:    Requests{s.Looked, s.Needing, s.Skipped, s.Dropped, s.TooLarge, s.Unknown, s.Uncounted},
		Application: []Need{}, Library: []Need{}, Answers: []Need{},
	}
	if !s.Last.IsZero() {
		last := s.Last
		r.Last = &last
	}
	byKey := map[string]*translate.Change{}
	for _, c := range translate.Changes() {
		byKey[changeKey(c)] = c
	}
	for _, one := range s.Rows.sorted() {
		list := map[Group]*[]Need{Application: &r.Application, Library: &r.Library, Answers: &r.Answers}[one.Group]
		if list == nil {
			continue // of a file that somebody has edited
		}
		c := byKey[one.Change]
		at := slices.IndexFunc(*list, func(n Need) bool { return n.key() == one.Change })
		if at < 0 {
			at = len(*list)
			*list = append(*list, need(c, one.Change, s.From, s.To))
		}
		n := &(*list)[at]
		n.Count += one.Count
		n.Where = append(n.Where, Place{one.Index, one.API, one.Count, one.Refused, one.Reason, one.First, one.Last, one.Example})
	}
	for _, list := range [][]Need{r.Application, r.Library, r.Answers} {
		slices.SortStableFunc(list, func(a, b Need) int { return rank(a) - rank(b) })
	}
	if w.compare != nil {
		r.Compare = w.comparison(s)
	}
	r.NextSteps = w.nextSteps(&r)
	return r
}

func (n Need) key() string {
	if n.ID == "" {
		return ""
	}
	return n.ID + " " + n.Name
}

// rank puts first what hurts most.
func rank(n Need) int {
	refused := slices.ContainsFunc(n.Where, func(p Place) bool { return p.Refused > 0 })
	switch {
	case refused:
		return 0
	case n.Fidelity == translate.Lossy.String():
		return 1
	}
	return 2
}

// need describes a change; one that this version does not know is shown by its
// name.
func need(c *translate.Change, key, from, to string) Need {
	if c == nil {
		id, name, _ := strings.Cut(key, " ")
		n := Need{ID: id, Name: name, Fidelity: translate.Refused.String(), Doc: "Requests that the cluster cannot carry out; the reason says what it lacks."}
		if key != "" {
			n.Fidelity, n.Doc = "unknown", "This version of the gateway does not know the change any more."
		}
		return n
	}
	n := Need{ID: c.ID, Name: c.Name, Doc: c.Doc}
	if !c.Since.IsZero() {
		n.Since = c.Since.Short()
	}
	client, errClient := esapi.ParseVersion(from)
	cluster, errCluster := esapi.ParseVersion(to)
	if errClient == nil && errCluster == nil {
		if d := c.Between(client, cluster); d != nil {
			n.Fidelity, n.Loses = d.Fidelity.String(), d.Loses
		}
	}
	return n
}

func (w *Watch) comparison(s *state) *Comparison {
	c := &Comparison{Share: float64(w.compareShare.Load()) / 1e6, Dropped: s.Compared.Dropped, Where: []ComparedRead{}}
	for _, row := range s.Compared.sorted() {
		c.Equal += row.Equal
		c.Settled += row.Settled
		c.Different += row.Different
		c.NotComparable += row.NotComparable
		read := ComparedRead{row.Index, row.API, row.Equal, row.Settled, row.Different, row.NotComparable, nil, nil, slices.Clone(row.Samples)}
		if row.Different > 0 {
			first, last := row.First, row.Last
			read.First, read.Last = &first, &last
		}
		c.Where = append(c.Where, read)
	}
	return c
}

// nextSteps says what to do about a report.
func (w *Watch) nextSteps(r *Report) []string {
	steps := []string{}
	step := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	if r.Compare != nil && r.Compare.Different > 0 {
		step("%d of the compared reads were answered differently by the two clusters: see compare; documents that differ have to be repaired first", r.Compare.Different)
	}
	switch {
	case w.share.Load() == 0 && r.Requests.LookedAt == 0:
		step("the report is off: it needs a target, or the application's version as dialect, and readiness on in the esperanto directive")
		return steps
	case r.Requests.LookedAt == 0:
		step("no request has been looked at yet: let the application run through everything that it does, also what it does once a month")
		return steps
	}
	refused := uint64(0)
	for _, n := range r.Application {
		for _, p := range n.Where {
			refused += p.Refused
		}
	}
	if refused > 0 {
		step("%s cannot carry out %d of the requests: change these first, the application gets errors for them", r.Cluster, refused)
	}
	if n := len(r.Application); n > 0 {
		step("change the application's requests as application says (%d changes), let it run, and look again: POST /esperanto/readiness/reset (esperanto readiness --reset) begins anew", n)
	} else if len(r.Library) > 0 {
		step("the application's own requests need nothing; use its client library in the version for Elasticsearch %s, and write paths without types where the application writes them itself", r.To)
	}
	if len(r.Answers) > 0 {
		step("look under answers which parts of answers have changed, and whether the application reads them")
	}
	if len(r.Application)+len(r.Library) == 0 {
		step("point the application at %s: nothing that was looked at needs a change of its requests; then take the gateway out", r.Cluster)
	}
	if n := r.Requests.TooLarge; n > 0 {
		step("%d of the requests were too large to be looked at", n)
	}
	return steps
}

// Counts are the figures for metrics.
type Counts struct {
	LookedAt, Skipped, Dropped, TooLarge, Unknown               uint64
	Equal, Settled, Different, NotComparable, ComparisonDropped uint64
}

// Counts tells how much was looked at and compared since the last reset.
func (w *Watch) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.now()
	c := Counts{LookedAt: s.Looked, Skipped: s.Skipped, Dropped: s.Dropped, TooLarge: s.TooLarge, Unknown: s.Unknown, ComparisonDropped: s.Compared.Dropped}
	for _, row := range s.Compared.rows {
		c.Equal += row.Equal
		c.Settled += row.Settled
		c.Different += row.Different
		c.NotComparable += row.NotComparable
	}
	return c
}
