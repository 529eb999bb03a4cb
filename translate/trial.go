package translate

import (
	"context"
	"slices"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A Trial is what the translation of a request would do.
type Trial struct {
	Asked esapi.Endpoint
	Sent  *esapi.Request // nil if the request cannot be translated

	Changes []*Change // that had something to do, in order
	Touches []Touch   // one for each of them, if it was in the body
	Refused string    // why the request is refused; "" if it is not

	// Err says what went wrong, a refusal too.
	Err error
}

// A Touch shows what a change did to a node of a body, the first time that it did
// anything.
type Touch struct {
	Change       *Change
	At           Place
	Was, Becomes []byte // JSON; Becomes is nil if the request was refused
}

// Try translates a request without sending it: nothing is asked but facts, and
// nothing is learned. What only shows while a request is carried out in several
// steps, such as the text of a stored search template, does not show.
func Try(ctx context.Context, client, cluster Version, facts Facts, r *esapi.Request) Trial {
	if facts != nil {
		facts = deafFacts{facts}
	}
	s := NewSender(client, cluster, facts, nil)
	x := s.exchange(ctx, esapi.ParseEndpoint(r.Method, r.Path, client), r)
	t := Trial{Asked: x.Asked}
	x.trace = func(c *Change, p Place, was, becomes []byte) {
		if len(was) == 0 || slices.ContainsFunc(t.Touches, func(t Touch) bool { return t.Change == c }) {
			return
		}
		t.Touches = append(t.Touches, Touch{c, p, was, becomes})
	}
	t.Sent, t.Err = s.request(x, r)
	t.Changes, t.Refused = x.fired, refusal(t.Err)
	return t
}

// deafFacts tell what they know but learn nothing.
type deafFacts struct{ Facts }

// Learn implements Facts.
func (deafFacts) Learn(context.Context, string, string) error { return nil }

// AddType implements Facts: it tells what the index would be.
func (d deafFacts) AddType(ctx context.Context, index, mappingType string, how TypesSetting) (IndexFacts, bool, error) {
	f, exists, err := d.Facts.Index(ctx, index)
	if !exists {
		f = IndexFacts{Name: index}
	}
	return f.WithType(mappingType, how), true, err
}
