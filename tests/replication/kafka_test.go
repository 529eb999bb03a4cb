package replication

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// inKafka opens a journal in a topic of the test's own.
func inKafka(t *testing.T) func() (journal.Journal, error) {
	brokers := harness.Kafka(t)
	topic := brokers.Prefix(t) + "journal"
	return func() (journal.Journal, error) {
		return journal.OpenKafka(context.Background(), journal.KafkaOptions{
			Brokers: brokers.Addrs(), Topic: topic, Partitions: 4, AllowSingleReplica: true,
			// A journal of a process that was killed may still be closing when the test has ended.
			Logf: func(format string, args ...any) { fmt.Fprintf(logTo{t}, format, args...) },
		})
	}
}

func TestOverKafka(t *testing.T) {
	harness.Real(t)
	for _, p := range [][2]string{{"5.6.16", "8.7.1"}, {"7.17.28", "8.7.1"}} {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			g := newBench(t, p[0], p[1], inKafka(t))
			g.kill()
			g.cfg.SharedJournal, g.cfg.IntentFirst, g.cfg.WriteTimeout = true, true, 15*time.Second
			g.start()
			everything(g, "books")
			aliasesAndState(g, "al")
			g.equal()
			g.b.cut.Store(true)
			for i := range 200 {
				g.must("PUT", g.doc("books", fmt.Sprint(i%50)), fmt.Sprintf(`{"n":%d}`, i))
			}
			g.restart()
			g.b.cut.Store(false)
			g.equal()
			g.switchTo("b")
			g.must("PUT", g.doc("books", "1"), `{"title":"written at the other one"}`)
			g.equal()
			g.switchTo("a")
			g.must("PUT", g.doc("books", "1"), `{"title":"and back"}`)
			g.equal()
		})
	}
}

// Under 8 writers the master goes to and fro; no write fails, nothing is lost.
func TestSwitchUnderLoad(t *testing.T) {
	harness.Real(t)
	for name, open := range map[string]func(*testing.T) func() (journal.Journal, error){"embedded": embedded, "kafka": inKafka} {
		t.Run(name, func(t *testing.T) {
			g := newBench(t, "7.17.28", "8.7.1", open(t))
			g.must("PUT", "/"+g.prefix+"books", `{"mappings":{"properties":{"n":{"type":"long"}}}}`)
			var writers sync.WaitGroup
			var written atomic.Int64
			stop := make(chan struct{})
			for w := range 8 {
				writers.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						// These paths are the same in both dialects.
						path, body := fmt.Sprintf("/%sbooks/_doc/%d-%d", g.prefix, w, i%300), fmt.Sprintf(`{"n":%d}`, i)
						if i%5 == 4 {
							path, body = "/"+g.prefix+"books/_update/shared?retry_on_conflict=20", fmt.Sprintf(`{"doc":{"w%d":%d},"doc_as_upsert":true}`, w, i)
						}
						status, answer, err := g.send("POST", path, body)
						if err != nil || status >= 300 {
							t.Errorf("%s: %d %s %v", path, status, answer.Raw, err)
							return
						}
						written.Add(1)
					}
				})
			}
			for i := range 10 {
				time.Sleep(300 * time.Millisecond)
				g.switchTo([]string{"b", "a"}[i%2])
			}
			close(stop)
			writers.Wait()
			g.equal()
			t.Logf("%d writes", written.Load())
		})
	}
}
