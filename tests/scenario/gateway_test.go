package scenario

import (
	"testing"

	"github.com/esperanto-es/esperanto/tests/chain"
)

// newGateway serves clients of a dialect on a cluster of another version.
func newGateway(t *testing.T, s *subject, dialect, clusterURL string) string {
	t.Helper()
	g, err := chain.Start(chain.Options{Dialect: dialect, Cluster: clusterURL, Types: s.types})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g.URL
}
