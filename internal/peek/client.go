package peek

import "context"

// A Looker looks, when it is asked, whether a client has gone, and then ends the context of
// its requests.
type Looker interface{ LookNow() }

type lookerKey struct{}

// With returns a context for the requests of a client.
func With(ctx context.Context, l Looker) context.Context {
	return context.WithValue(ctx, lookerKey{}, l)
}

// Gone reports whether who has sent the request with this context does not wait for its answer
// any more, as far as that is known now: it is seen at once, where a context of With may end a
// little later.
func Gone(ctx context.Context) bool {
	if ctx.Err() == nil {
		if l, ok := ctx.Value(lookerKey{}).(Looker); ok {
			l.LookNow()
		}
	}
	return ctx.Err() != nil
}
