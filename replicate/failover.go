package replicate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/replicate/epoch"
)

// failover has the follower take over when the master is down. docs/design/failover.md
// has the reasons.
type failover struct {
	r      *Replicator
	pulses map[string]*pulse // of both clusters, by name

	mu     sync.Mutex
	reason string    // why the last one was given up
	again  time.Time // no earlier is it tried again
}

func newFailover(r *Replicator) *failover {
	f := &failover{r: r, pulses: map[string]*pulse{}}
	for _, c := range []*cluster.Cluster{r.cfg.Source, r.cfg.Target} {
		f.pulses[c.Name()] = &pulse{cluster: c}
	}
	return f
}

// A pulse knows for how long a cluster has answered, or has not.
type pulse struct {
	cluster *cluster.Cluster

	mu     sync.Mutex
	since  time.Time // of what alive says; zero: not asked yet
	alive  bool
	latest time.Time // the last answer, or the end of the last wait for one
}

// every is how often clusters are asked, and limit how long they may take.
func (f *failover) every() time.Duration {
	return min(max(f.r.cfg.Failover/10, 20*time.Millisecond), time.Second)
}

func (f *failover) limit() time.Duration {
	return min(max(f.r.cfg.Failover/4, 200*time.Millisecond), 5*time.Second)
}

// watch asks a cluster again and again, until ctx ends.
func (f *failover) watch(ctx context.Context, p *pulse) {
	tick := time.NewTicker(f.every())
	defer tick.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		alive := answers(ctx, p.cluster, f.limit())
		p.note(began, time.Now(), alive, 2*f.limit()+f.every())
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// note takes an answer into account. What took much longer than it may was stopped itself
// meanwhile, and knows nothing of the time before.
func (p *pulse) note(began, ended time.Time, alive bool, most time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gap := !p.latest.IsZero() && ended.Sub(p.latest) > most
	switch {
	case gap && !alive:
		p.since, p.alive = ended, false
	case gap, p.since.IsZero(), alive != p.alive:
		p.since, p.alive = began, alive
	}
	p.latest = ended
}

// is tells for how long a cluster has been alive, or down.
func (p *pulse) is(alive bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() || p.alive != alive {
		return 0
	}
	return max(time.Since(p.since), time.Millisecond)
}

// answers reports whether a node of a cluster answers, whatever it says. What a proxy
// answers in its place does not count.
func answers(ctx context.Context, c *cluster.Cluster, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(cluster.Probing(ctx), limit)
	defer cancel()
	status, answer, err := c.Do(ctx, http.MethodGet, "/", nil)
	return err == nil && (status < 500 || gjson.ValidBytes(answer) && gjson.GetBytes(answer, "error.type").Exists())
}

// run watches both clusters and has the follower take over, until ctx ends.
func (f *failover) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, p := range f.pulses {
		all.Go(func() { f.watch(ctx, p) })
	}
	tick := time.NewTicker(f.every())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if f.wanted() {
			f.begin(ctx)
		}
	}
}

// down is for how long this gateway has found the master down; 0 if it is alive, or is not
// asked.
func (f *failover) down() time.Duration {
	if f == nil || f.r.cfg.Failover == 0 {
		return 0
	}
	return f.pulses[f.r.gate.now().master.Name()].is(false)
}

// wanted reports whether it is time.
func (f *failover) wanted() bool {
	if f.down() < f.r.cfg.Failover || f.r.gate.state().Closing() || !f.r.gate.confirmed() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().After(f.again) && f.vetoed() == nil
}

// vetoed says which gateway does not find the master down.
func (f *failover) vetoed() error {
	m, longer := f.r.members, f.r.cfg.Failover
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Vetoes(f.r.gate.now().epoch, longer, time.Now()) {
		switch {
		case s.Instance == m.r.instance:
			continue // it knows better than its last heartbeat
		case s.FailoverMS == 0:
			return fmt.Errorf("gateway %s on %s has no failover in its configuration", s.Instance, s.Host)
		case s.DownMS == 0:
			return fmt.Errorf("gateway %s on %s finds the master alive", s.Instance, s.Host)
		}
		return fmt.Errorf("gateway %s on %s has not said for long enough that the master is down", s.Instance, s.Host)
	}
	return nil
}

// retryFailover is how long one waits that was given up.
const retryFailover = 2 * time.Second

// begin does it, and keeps why it was not done.
func (f *failover) begin(ctx context.Context) {
	to := f.r.gate.now().follower.Name()
	_, err := f.r.switchover(ctx, SwitchRequest{Master: to, Failover: true, unasked: true}, func(*epoch.State) {})
	if errors.Is(err, errUnderway) {
		err = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.reason
	f.reason, f.again = "", time.Now().Add(retryFailover)
	if err != nil {
		f.reason = err.Error()
	}
	if err != nil && f.reason != before {
		f.r.log.Error("the master is down, and the follower does not take over", "wanted", to, "reason", err)
	}
}

// mayFail tells what stands in the way of a failover, apart from that the master may be
// alive. Without unasked an operator asks for it.
func (r *Replicator) mayFail(ctx context.Context, now roles, unasked bool) error {
	if r.bothWays() {
		return errBothWays
	}
	if err := r.mayswitch(ctx, now); err != nil {
		return err
	}
	if why, err := r.resyncAside(ctx); err != nil || why != nil {
		return errors.Join(err, why)
	}
	follower := r.failover.pulses[now.follower.Name()]
	if unasked && follower.is(true) < r.cfg.Failover {
		return &SwitchError{Reason: fmt.Sprintf("the follower %s has not answered for %s yet", now.follower.Name(), r.cfg.Failover),
			NextSteps: []string{"wait, or look whether cluster " + now.follower.Name() + " is well"}}
	}
	return nil
}

// leaveBehind is what has to be known when the follower becomes the master without the
// former one: nothing is applied and nothing is written any more, as long as still says so.
func (r *Replicator) leaveBehind(ctx context.Context, m move, still func() error) error {
	if why, err := r.resyncAside(ctx); err != nil || why != nil {
		return errors.Join(err, why)
	}
	indices, err := r.asides.base(ctx, m.now.master, m.next.master, still)
	if err != nil {
		return r.givenUp(ctx, "since it could not be kept what the new master has", err)
	}
	if err := r.applier.pairs[m.now.master.Name()].unguardAside(ctx, indices); err != nil {
		return r.givenUp(ctx, "since the new master has final pipelines or blocks of a switchover", err)
	}
	if err := errors.Join(r.asides.table.Delete(ctx, guardsKey), r.asides.forgetNotes(ctx, gonePrefix)); err != nil {
		return r.givenUp(ctx, "since it could not be kept what the new master has", err)
	}
	if err := r.settleGuesses(ctx, m.next.master); err != nil {
		return r.givenUp(ctx, "since it could not be kept what was guessed", err)
	}
	if err := sweepShadows(ctx, m.next.master, time.UnixMilli(math.MaxInt64)); err != nil {
		r.log.Warn("the new master keeps a template that was made for a moment; delete it", "template", shadowPrefix+"*", "reason", err)
	}
	return r.mustBeDown(ctx, m.now, m.unasked)
}

// mustBeDown refuses to fail over from a master that is alive.
func (r *Replicator) mustBeDown(ctx context.Context, now roles, unasked bool) error {
	if unasked {
		if r.failover.down() < r.cfg.Failover {
			return &SwitchError{Reason: "the master " + now.master.Name() + " answers again", NextSteps: []string{"nothing"}}
		}
		if err := r.failover.vetoed(); err != nil {
			return &SwitchError{Reason: err.Error(), NextSteps: []string{"look whether all gateways reach the master"}}
		}
		if answers(ctx, now.master, r.failover.limit()) {
			return &SwitchError{Reason: "the master " + now.master.Name() + " answers again", NextSteps: []string{"nothing"}}
		}
		return nil
	}
	if answers(ctx, now.master, 2*time.Second) {
		return &SwitchError{Reason: "the master " + now.master.Name() + " answers", NextSteps: []string{"move it without force: then nothing has to be put aside"}}
	}
	return nil
}

// resyncAside says which index was to be resynced and is not.
func (r *Replicator) resyncAside(ctx context.Context) (why, err error) {
	rows, err := r.asides.list(ctx, 1, func(row *asideRow) bool { return row.What == kindResync })
	if err != nil {
		return nil, fmt.Errorf("reading what is put aside: %w", err)
	}
	if len(rows) > 0 {
		why = &SwitchError{Reason: fmt.Sprintf("%s is to be resynced: the follower does not have what the master has", rows[0].Index), NextSteps: resyncSteps}
	}
	return why, nil
}

// nothingAside refuses to move the master while it has to be asked for something.
func (r *Replicator) nothingAside(ctx context.Context) error {
	n, err := r.asides.count(ctx)
	if err != nil {
		return fmt.Errorf("reading what is put aside: %w", err)
	}
	if n > 0 {
		return &SwitchError{Reason: fmt.Sprintf("%d documents and parts of the state were put aside in a failover that was given up, and are not read back from the master yet", n), NextSteps: []string{"wait until the status has nothing aside any more"}}
	}
	return nil
}

// A FailoverStatus tells whether the follower would take over, and what is left of that.
type FailoverStatus struct {
	After  float64 `json:"after_seconds,omitempty"`       // 0: only when an operator asks for it
	Ready  bool    `json:"ready"`                         // the follower would take over if the master was down now
	Reason string  `json:"reason,omitempty"`              // why not
	Down   float64 `json:"master_down_seconds,omitempty"` // as this gateway finds
	Aside  int     `json:"aside"`                         // documents and parts of the state that the former master has to be asked for
	Rejoin string  `json:"rejoin,omitempty"`              // the former master, until it was made equal
	Guess  []Guess `json:"guessed,omitempty"`             // fields whose types the follower has guessed
}

// failoverState completes a Status.
func (r *Replicator) failoverState(ctx context.Context, s *Status) {
	f := &FailoverStatus{After: r.cfg.Failover.Seconds(), Down: r.failover.down().Seconds(), Rejoin: r.gate.state().Rejoin}
	s.Failover = f
	f.Aside, _ = r.asides.count(ctx)
	if list, err := r.guessed(ctx); err == nil {
		for _, g := range list {
			if g.Before == nil {
				f.Guess = append(f.Guess, g.Guess)
			}
		}
	}
	err := r.failoverObstacle(ctx, s)
	if f.Ready = err == nil; err != nil {
		f.Reason = err.Error()
	}
	if f.Down > 0 {
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("the master has not answered for %.0f s; the follower takes over after %s", f.Down, r.cfg.Failover)+because(f.Reason))
	} else if r.cfg.Failover > 0 && !f.Ready {
		s.NextSteps = append(s.NextSteps, "the follower would not take over now: "+f.Reason)
	}
	switch {
	case f.Rejoin != "":
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("bring cluster %s back: it is made equal before anything else is applied to it; %d documents and parts of the state are to be looked at there", f.Rejoin, f.Aside))
	case f.Aside > 0:
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("%d documents and parts of the state were put aside and are read from the master as soon as it answers", f.Aside))
	}
	if len(f.Guess) > 0 {
		s.NextSteps = append(s.NextSteps, fmt.Sprintf("of %d indices fields were guessed at failover, the first is %s: compare their mappings", len(f.Guess), f.Guess[0].Index))
	}
}

// failoverObstacle is why the follower would not take over now.
func (r *Replicator) failoverObstacle(ctx context.Context, s *Status) error {
	if r.cfg.Failover == 0 {
		return errors.New("the configuration has no failover: only if an operator asks for it")
	}
	for _, c := range s.Clusters {
		if c.Role == "follower" && c.Health == "down" {
			return fmt.Errorf("the follower %s does not answer: %s", c.Name, c.Reason)
		}
	}
	if err := r.mayFail(ctx, r.gate.now(), true); err != nil {
		return err
	}
	if r.members != nil {
		if err := r.members.withoutFailover(); err != nil {
			return err
		}
	}
	if r.failover.down() < r.cfg.Failover {
		return nil
	}
	if err := r.failover.vetoed(); err != nil {
		return err
	}
	return r.failover.last()
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return "; but not now: " + reason
}

// last is why the last one was given up.
func (f *failover) last() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reason == "" {
		return nil
	}
	return errors.New(f.reason)
}

// withoutFailover says which gateway would veto whatever happens.
func (m *members) withoutFailover() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.roll.Members() {
		if s.FailoverMS == 0 && s.Instance != m.r.instance && !m.roll.CutOff(s) {
			return fmt.Errorf("gateway %s on %s has no failover in its configuration, and would be taken to find the master alive", s.Instance, s.Host)
		}
	}
	return nil
}
