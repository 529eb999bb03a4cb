package replicate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// capture is the Sender of a Lease: it sends requests to the master, in its
// dialect, and journals what the writes among them do.
type capture struct {
	r     *Replicator
	lease *Lease
	next  esapi.Sender // the master
}

// Send implements esapi.Sender.
func (c *capture) Send(ctx context.Context, req *esapi.Request) (*esapi.Response, error) {
	v, err := c.lease.roles.master.Version(ctx)
	if err != nil {
		return nil, unavailable("%v", err)
	}
	e := esapi.ParseEndpoint(req.Method, req.Path, v)
	class := classes[e.API]
	if class != classRead && c.r.cfg.NoCapture {
		return nil, ErrNoCapture
	}
	switch class {
	case classDocument:
		return c.document(ctx, req, e, v)
	case classBulk:
		return c.bulk(ctx, req, e, v)
	case classState:
		return c.state(ctx, req, e)
	case classRefused:
		return nil, unsupported("%s is not replicated to cluster %s yet, so it is refused while there are two clusters; %s",
			e.API, c.lease.roles.follower.Name(), refusals[e.API])
	}
	return c.next.Send(ctx, req)
}

// hold reads the request's body into memory, so that it can be journaled.
func (c *capture) hold(req *esapi.Request) error {
	if req.Stream == nil {
		if int64(len(req.Body)) > c.r.cfg.MaxBody {
			return c.tooLong()
		}
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(req.Stream, c.r.cfg.MaxBody+1))
	if own := new(esapi.Error); errors.As(err, &own) {
		return own // the body is longer than the gateway takes
	}
	if err != nil {
		return illegal("the request's body could not be read: %v; nothing was written", err)
	}
	if int64(len(body)) > c.r.cfg.MaxBody {
		return c.tooLong()
	}
	req.Body, req.Stream, req.Length = body, nil, int64(len(body))
	return nil
}

func (c *capture) tooLong() error {
	return &esapi.Error{Status: http.StatusRequestEntityTooLarge, Type: "content_too_long_exception",
		Reason: "the body of a write is held in memory and may have " + byteCount(c.r.cfg.MaxBody) + " at most"}
}

// outcome is what is known of a write after it was sent.
type outcome int

const (
	outcomeAnswered outcome = iota // the answer tells what happened
	outcomeNothing                 // it changed nothing
	outcomeUnknown                 // it may have been carried out, or may be still
	outcomeUnparsed                // it was carried out, but what is known is not enough
)

// exchange sends a write and reads the answer. A client that goes away does not
// end it: what was sent must be seen to its end.
func (c *capture) exchange(ctx context.Context, t *ticket, req *esapi.Request) (*esapi.Response, []byte, outcome, error) {
	if !c.lease.valid() {
		return nil, nil, outcomeNothing, unavailable("this gateway has lost touch with the journal, and another cluster may be the master by now; nothing was written, try again")
	}
	t.sent = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.r.cfg.WriteTimeout)
	defer cancel()
	res, err := c.next.Send(ctx, req)
	var own *esapi.Error
	switch {
	case errors.Is(err, cluster.ErrInterrupted) && errors.Is(err, esapi.ErrNotSent):
		return nil, nil, outcomeNothing, unavailable("the master does not answer, and the other cluster takes over; nothing was written, try again")
	case errors.Is(err, cluster.ErrInterrupted):
		return nil, nil, outcomeUnknown, unavailable("the master does not answer, and the other cluster takes over; the write may have been applied, try again, repeating it does no harm if it has an id")
	case errors.Is(err, esapi.ErrNotSent), errors.As(err, &own):
		return nil, nil, outcomeNothing, err
	case err != nil:
		return nil, nil, outcomeUnknown, err
	}
	answer, err := cluster.ReadBody(res, c.r.cfg.MaxBody)
	if err != nil {
		return nil, nil, outcomeUnknown, err
	}
	res.Header.Del("Content-Length")
	switch {
	case res.Status == http.StatusTooManyRequests:
		return res, answer, outcomeNothing, nil
	case res.Status >= 500:
		return res, answer, outcomeUnknown, nil
	case res.Status >= 400:
		// A delete that found nothing is an answer too: 404 with a result.
		return res, answer, outcomeNothing, nil
	}
	t.untold = !c.learn(ctx)
	return res, answer, outcomeAnswered, nil
}

// settle ends a write whose effects are not told by its answer, according to
// its outcome.
func (c *capture) settle(t *ticket, o outcome) {
	switch o {
	case outcomeNothing:
		t.nothing()
	case outcomeUnknown:
		c.r.counters.unknown.Add(1)
		t.abandon(c.r.cfg.Grace)
	default:
		t.abandon(0)
	}
}

// reply is the answer for the client, once the intent is durable.
// It is given only while this gateway is sure that the master has not been moved:
// if it has, it was without waiting for this write, which will be undone.
func (c *capture) reply(ctx context.Context, t *ticket, res *esapi.Response, answer []byte, err error) (*esapi.Response, error) {
	if err != nil {
		c.stale(t)
		return nil, err
	}
	if err := t.waitDurable(context.WithoutCancel(ctx)); err != nil && res.Status < 400 && !c.accepted(context.WithoutCancel(ctx), t, err) {
		c.r.counters.journalUnproven.Add(1)
		c.r.log.Error("a write was answered 503: its journal record is not durable", "reason", err)
		if c.r.cfg.SharedJournal {
			t.again() // the record may never have got there
		}
		return nil, unavailable("the write may have been applied, but the journal did not confirm it (%v); try again, repeating it does no harm if it has an id", err)
	}
	if t.forgotten != nil && res.Status < 400 {
		c.r.counters.journalUnproven.Add(1)
		return nil, unavailable("the write may have been applied, but the journal is down and nothing else keeps what it has done (%v); bring the journal back and try again, repeating it does no harm if it has an id", t.forgotten)
	}
	if c.stale(t) && res.Status < 400 {
		c.r.counters.journalUnproven.Add(1)
		return nil, unavailable("the write may have been applied, but this gateway has lost touch with the journal, and another cluster may be the master by now; try again, repeating it does no harm if it has an id")
	}
	out := esapi.NewResponse(res.Status, answer)
	out.Header = res.Header
	return out, nil
}

// stale reports whether a write that was sent must not be acknowledged any more. Its
// documents are looked at once more then: those who have moved the master may have
// done so before it was carried out.
func (c *capture) stale(t *ticket) bool {
	if !t.sent || c.lease.valid() {
		return false
	}
	t.again()
	return true
}

// isJSON reports whether a body is JSON as far as its content type tells.
func isJSON(h http.Header) bool {
	typ := h.Get("Content-Type")
	return typ == "" || strings.Contains(typ, "json") || strings.HasPrefix(typ, "text/plain") || strings.HasPrefix(typ, "application/x-www-form-urlencoded")
}
