package faults

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// own starts clusters of the test's own, that may be broken.
func own(t *testing.T, versions ...string) []*harness.Cluster {
	t.Helper()
	harness.Real(t)
	clusters, errs := make([]*harness.Cluster, len(versions)), make([]error, len(versions))
	var all sync.WaitGroup
	for i, v := range versions {
		all.Go(func() { clusters[i], errs[i] = harness.StartElasticsearch(testContext(t), harness.Options{Version: v}) })
	}
	all.Wait()
	for _, c := range clusters {
		if c != nil {
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return clusters
}

// Each cluster is killed and stopped, as the follower and as the master, while
// writers write.
func TestClusters(t *testing.T) {
	a, b := chosen("5.6.16", "7.10.2")
	clusters := own(t, a, b)
	t.Run("follower killed", func(t *testing.T) { brokenCluster(t, clusters, 1, killed) })
	t.Run("master killed", func(t *testing.T) { brokenCluster(t, clusters, 0, killed) })
	t.Run("follower stopped", func(t *testing.T) { brokenCluster(t, clusters, 1, stopped) })
	t.Run("master stopped", func(t *testing.T) { brokenCluster(t, clusters, 0, stopped) })
}

// brokenCluster has writers write while one of two clusters is broken.
func brokenCluster(t *testing.T, clusters []*harness.Cluster, which int, fault func(*rig, *harness.Cluster)) {
	r := newRig(t, clusters[0], clusters[1])
	// What a master that is stopped was sent it carries out when it goes on: within grace, as that is not looked for
	// later (docs/design/journal.md).
	r.options = "grace 10s\nwrite_timeout 2s"
	r.start()
	l := r.write(6)
	for range *rounds {
		l.await(100, longest)
		fault(r, clusters[which])
		if which == 1 { // nobody notices
			l.await(50, longest)
		}
		time.Sleep(time.Second)
		l.stop() // the cluster starts sooner
		r.mend(clusters[which])
		l.resume()
		l.await(100, longest)
	}
	r.final()
}

// killed ends a cluster with kill -9.
func killed(r *rig, c *harness.Cluster) {
	r.Helper()
	r.blow(c.Kill())
}

// stopped freezes a cluster: its connections stay open, nothing is answered.
func stopped(r *rig, c *harness.Cluster) {
	r.Helper()
	r.blow(c.Pause())
	time.Sleep(3 * time.Second) // longer than a write may take
}

// mend brings a cluster back, however it was broken.
func (r *rig) mend(c *harness.Cluster) {
	r.Helper()
	if c.Resume() == nil {
		return
	}
	if err := c.Start(testContext(r.T)); err != nil {
		r.Fatal(err)
	}
}
