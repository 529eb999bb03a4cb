package replicate

import (
	"context"
	"fmt"
	"time"
)

// assumedRate, in documents per second, is what the applier is taken to do if it has had
// nothing to do lately.
const assumedRate = 2000

// foretell says what a switchover that nothing stands in the way of would do.
func (r *Replicator) foretell(ctx context.Context, next roles) SwitchResult {
	result := SwitchResult{Master: next.master.Name(), Epoch: next.epoch, Members: r.members.status()}
	note := func(format string, args ...any) {
		result.NextSteps = append(result.NextSteps, fmt.Sprintf(format, args...))
	}
	backlog, _, err := r.backlog(ctx)
	if err != nil {
		note("the backlog is not known: %v", err)
	}
	result.Backlog = backlog
	if r.selection != nil {
		note("not all indices are replicated: those that are left out by %s stay at %s alone, and are not found at %s", r.selection, next.follower.Name(), next.master.Name())
	}
	rate := max(r.applierStatus().Rate, assumedRate)
	result.ExpectedSeconds = float64(backlog)/entriesPerDoc/rate + 0.2
	for _, m := range result.Members {
		switch {
		case m.CutOff:
			note("gateway %s on %s was not heard of for %.0f s: it takes no writes, and is not waited for", m.Instance, m.Host, m.HeardSeconds)
		case m.Accepts && m.HeardSeconds > r.cfg.MasterLease.Seconds()/2:
			note("%s: the master is not moved before it is back", silentAccepting(m))
		case m.HeardSeconds > r.cfg.MasterLease.Seconds()/2:
			wait := max(0, r.cfg.MasterLease+r.cfg.MasterLease/10-time.Duration(m.HeardSeconds*float64(time.Second)))
			result.ExpectedSeconds += wait.Seconds()
			note("gateway %s on %s was not heard of for %.1f s: before writes are made to wait, its lease has to end", m.Instance, m.Host, m.HeardSeconds)
		}
	}
	if j, ok, err := r.jobs.Job(ctx, JobBackfill); err == nil && ok && j.State == JobFailed && j.Epoch+1 == next.epoch {
		note("the backfill of %s has failed: %s may not have all that %s has; resume it before: POST /esperanto/backfill/resume", next.master.Name(), next.master.Name(), next.follower.Name())
	}
	_ = r.refreshDead(ctx) // then those that this process knows of
	if reason, by := r.applier.pace.slow(); by == "docs_per_second" || by == "bytes_per_second" {
		note("the applier is throttled: %s; it is not while the master is moved", reason)
	}
	if n := r.applier.dead.count(); n > 0 {
		note("%d dead letters: %s does not have these documents as %s has them; look at them before", n, next.master.Name(), next.follower.Name())
	}
	return result
}

// silentAccepting says what is to be done about a gateway that takes writes without
// the journal and of which nothing is heard.
func silentAccepting(m MemberStatus) string {
	return fmt.Sprintf(`gateway %s on %s was not heard of for %.0f s, and takes writes all the same (journal_down accept); bring it back to the journal, or, if it has ended for good, POST /esperanto/members/drop {"instance":"%s"}`,
		m.Instance, m.Host, m.HeardSeconds, m.Instance)
}
