package journal_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/replicate/journal/journaltest"
)

// Whatever a journal has started ends with Close.
func TestGoroutinesEnd(t *testing.T) {
	cluster := fakeKafka(t)
	for name, o := range map[string]journaltest.Opener{
		"embedded": func(t testing.TB, _ journaltest.Options) journal.Journal {
			e, err := journal.OpenEmbedded(t.TempDir(), journal.EmbeddedOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return e
		},
		"Kafka": kafkaOpener(cluster.ListenAddrs()),
	} {
		t.Run(name, func(t *testing.T) {
			use := func() {
				j := o(t, journaltest.Options{})
				journaltest.Append(t, j, "k", "v")
				if err := j.Table("state").Put(within(t, time.Minute), "k", []byte("v")); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					c := journaltest.NewCollector()
					stop := journaltest.Consume(t, j, c)
					c.Wait(t, 1)
					stop(nil)
				}
				consumed := make(chan error, 1)
				go func() { consumed <- j.Consume(context.Background(), journaltest.NewCollector()) }()
				time.Sleep(10 * time.Millisecond)
				closeSoon(t, j)
				if err := <-consumed; !errors.Is(err, journal.ErrClosed) {
					t.Error(err)
				}
			}
			use() // the first use starts what belongs to the process
			before := runtime.NumGoroutine()
			for range 3 {
				use()
			}
			eventually(t, "goroutines end", func() error {
				if n := runtime.NumGoroutine(); n > before+2 {
					stacks := make([]byte, 1<<20)
					return fmt.Errorf("there are %d, before there were %d\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
				}
				return nil
			})
		})
	}
}
