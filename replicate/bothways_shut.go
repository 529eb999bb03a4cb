package replicate

import (
	"context"
	"errors"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// With both_ways the other site may close or block an index of its own for as long as it likes.
// What is to be written there cannot wait in the journal, as all that stands behind it
// would wait, too. It becomes dead letters, which are retried when neither site shuts the
// index any more.

// shut reports whether the follower refuses something because the other site has shut the
// index.
func (p *pair) shut(err error) bool { return p.bothWays() && isShut(err) }

func isShut(err error) bool {
	e := new(cluster.StatusError)
	return errors.As(err, &e) && cluster.Result{Status: e.Status, Type: e.Type, Reason: e.Reason}.Shut()
}

// rejectedBy is a document that its index cannot take.
func (p *pair) rejectedBy(problem error, d cluster.Doc) rejection {
	d.Closed = p.shut(problem)
	return rejection{d, problem.Error()}
}

// buryShut makes dead letters of documents whose index is shut, and returns the others.
func (p *pair) buryShut(ctx context.Context, rejected []rejection) (left []rejection, dead int, err error) {
	if !p.bothWays() {
		return rejected, 0, nil
	}
	for _, r := range rejected {
		// A deletion that the follower rejects otherwise is not what the master has now
		// either: to look at it again would end here again.
		deletion := !r.doc.Found && r.doc.Version > 0
		if !r.doc.Closed && !deletion {
			left = append(left, r)
			continue
		}
		letter := p.letter(r.doc, r.reason)
		letter.Deleted = deletion
		if err := p.a.bury(ctx, letter); err != nil {
			return nil, dead, err
		}
		dead++
	}
	return left, dead, nil
}

// retryable reports whether an index whose documents are dead letters as it was closed
// can be read and written again. The master's may have been opened past the gateway: then
// the follower's is opened first.
func (p *pair) retryable(ctx context.Context, index string) (bool, error) {
	state, err := openState(ctx, p.from, index)
	if err != nil || state != "open" {
		return false, err
	}
	if !p.bothWays() {
		if _, err := p.applyOpen(ctx, index, true); err != nil {
			return false, err
		}
	}
	if state, err = openState(ctx, p.to, index); err != nil || state == "close" {
		return false, err
	}
	if !p.bothWays() {
		return true, nil
	}
	for _, c := range []*cluster.Cluster{p.from, p.to} {
		settings, err := settingsOf(ctx, c, index)
		if err != nil {
			return false, notGone(err)
		}
		for _, block := range []string{"write", "read_only", "read", "metadata"} {
			if gjson.Parse(settings["blocks."+block]).String() == "true" {
				return false, nil
			}
		}
	}
	return true, nil
}

// settleLetters brings over what dead letters are about.
func (p *pair) settleLetters(ctx context.Context, letters []DeadLetter) error {
	questions := make([]question, len(letters))
	for i, d := range letters {
		questions[i] = question{id: cluster.DocID{Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing}, unknown: true}
		if d.Deleted {
			questions[i].deleted = d.Version
		}
	}
	return p.settleAll(ctx, questions)
}
