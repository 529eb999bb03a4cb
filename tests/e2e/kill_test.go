package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestKilledTwentyTimes kills the gateway under load, twenty times in a row. No
// acknowledged write may be missing anywhere, and both clusters must be equal in
// the end.
func TestKilledTwentyTimes(t *testing.T) {
	harness.Real(t)
	killed(t, "killed", 20, "", "")
}

// TestKilledOnKafka does the same, a few times, with the journal in Kafka.
func TestKilledOnKafka(t *testing.T) {
	harness.Real(t)
	kafka := harness.Kafka(t)
	// The intents of a killed gateway are resolved when its writes cannot be under
	// way any more: other gateways may share the journal.
	killed(t, "killedkafka", 5, "\nwrite_timeout 5s", fmt.Sprintf("esperanto {\njournal {\nbrokers %s\ntopic %sjournal\npartitions 4\nsingle_replica\n}\n}",
		strings.Join(kafka.Addrs(), " "), kafka.Prefix(t)))
}

func killed(t *testing.T, name string, kills int, options, global string) {
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + name
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source) + options, Global: global})
	createIndex(t, g, index)

	w := write(t, g, index, 8, 1)
	for range kills {
		before := w.acked()
		time.Sleep(300*time.Millisecond + rand.N(400*time.Millisecond))
		w.await(t, before, 10)
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		w.pause()
		if err := g.Restart(testContext(t)); err != nil {
			t.Fatal(err)
		}
		w.resume()
	}
	time.Sleep(300 * time.Millisecond)
	w.pause()
	waitApplied(t, g)

	t.Logf("%d acknowledged writes, %d kills", w.acked(), kills)
	if w.acked() < 10*kills {
		t.Errorf("only %d writes were acknowledged", w.acked())
	}
	w.checkAcknowledged(t, es5)
	w.checkAcknowledged(t, es8)
	check.Equal(t, es5, es8, index)
}
