package replicate

import (
	"context"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

const whatIndex = "index"

type applier struct{}

func newApplier(*Replicator) *applier                             { return &applier{} }
func (a *applier) load(ctx context.Context, _ bool) error         { return nil }
func (a *applier) run(ctx context.Context)                        {}
func (r *Replicator) followConfiguration(context.Context, string) {}
func (c *capture) state(ctx context.Context, req *esapi.Request, e esapi.Endpoint) (*esapi.Response, error) {
	return c.next.Send(ctx, req)
}
