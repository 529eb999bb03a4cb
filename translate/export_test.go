package translate

import (
	"context"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// SendVisitingAll is Send with all lines of a bulk visited by the rules.
func (s *Sender) SendVisitingAll(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	x := s.exchange(ctx, r)
	x.trace = func(*Change, Place, []byte, []byte) {}
	return s.send(ctx, x, r)
}
