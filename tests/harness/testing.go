package harness

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"
)

// RealEnv, set to 1, lets tests run that need real clusters.
const RealEnv = "ESPERANTO_REAL"

// Real skips the test unless real clusters are wanted.
func Real(t testing.TB) {
	t.Helper()
	if os.Getenv(RealEnv) != "1" {
		t.Skip("needs real clusters: run it with make test, or set " + RealEnv + "=1")
	}
}

// The clusters that tests of this process share if there is no control server.
// Nobody closes the pool: its clusters end with the process.
var localPool = sync.OnceValue(func() *pool { return newPool(os.Stderr) })

// Elasticsearch returns a cluster of that version which all tests of the run
// share. Use Prefix for names of your own, or Shared to have one to yourself.
func Elasticsearch(t testing.TB, version string) *Cluster {
	t.Helper()
	return Shared(t, Options{Version: version})
}

// Shared returns the cluster with these options, which all tests of the run
// share that ask for the same. A Name that no other package uses makes it the
// package's own: cheaper than a cluster per test, and Clean is safe.
func Shared(t testing.TB, o Options) *Cluster {
	t.Helper()
	Real(t)
	ctx, cancel := startContext(t)
	defer cancel()
	l, err := borrow(ctx, "/elasticsearch", o, func() (lease, error) {
		c, err := localPool().elasticsearch(ctx, o)
		if err != nil {
			return lease{}, err
		}
		return c.lease(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l.cluster()
}

// NewElasticsearch starts a cluster that belongs to the test and ends with it.
// If the test fails, the end of the cluster's log is shown.
func NewElasticsearch(t testing.TB, o Options) *Cluster {
	t.Helper()
	Real(t)
	ctx, cancel := startContext(t)
	defer cancel()
	c, err := StartElasticsearch(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of elasticsearch %s:\n%s", c.Version, tail(c.Logs(), 30))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Kafka returns the Kafka of one broker that all tests of the run share. Use
// Prefix for names of your own.
func Kafka(t testing.TB) *KafkaCluster {
	t.Helper()
	return SharedKafka(t, KafkaOptions{})
}

// SharedKafka returns the Kafka with these options, which all tests of the run
// share that ask for the same.
func SharedKafka(t testing.TB, o KafkaOptions) *KafkaCluster {
	t.Helper()
	Real(t)
	ctx, cancel := startContext(t)
	defer cancel()
	l, err := borrow(ctx, "/kafka", o, func() (lease, error) {
		k, err := localPool().kafkaCluster(ctx, o)
		if err != nil {
			return lease{}, err
		}
		return k.lease(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l.kafka()
}

// NewKafka starts a Kafka that belongs to the test and ends with it. If the
// test fails, the ends of the brokers' logs are shown.
func NewKafka(t testing.TB, o KafkaOptions) *KafkaCluster {
	t.Helper()
	Real(t)
	ctx, cancel := startContext(t)
	defer cancel()
	k, err := StartKafka(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for n := range k.addrs {
			if t.Failed() {
				t.Logf("the end of the log of broker %d:\n%s", n+1, tail(k.Logs(n+1), 20))
			}
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// TempDir returns a folder that clusters can use, removed after the test. The
// folders of testing.T are closed to other users, as which clusters run when
// root starts them.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := makeRunDir(tempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startContext bounds a start with its download.
func startContext(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 30*time.Minute)
}
