package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/replicate"
	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// A wire is one gateway's connections to Kafka, which can be cut.
type wire struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("the wire is cut")
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

func (w *wire) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	if down {
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.conns = nil
	}
}

// Of three gateways one loses Kafka, and clusters and clients it keeps. It stops taking
// writes by itself, the others move the master without it, and it goes on there when it
// has found Kafka again. To and fro.
func TestCutOffOverASwitchover(t *testing.T) {
	harness.Real(t)
	kafka := harness.Kafka(t)
	topic := kafka.Prefix(t) + "journal"
	la, lb := newLink(t, "7.17.28"), newLink(t, "8.7.1")
	index := la.real.Prefix(t) + "books"
	t.Cleanup(func() { _, _, _ = lb.real.Request(context.Background(), http.MethodDelete, "/"+index, "") })
	const lease = 2 * time.Second
	type member struct {
		bench
		wire *wire
	}
	var fleet []*member
	for i := range 3 {
		m := &member{wire: &wire{}}
		j, err := journal.OpenKafka(t.Context(), journal.KafkaOptions{Brokers: kafka.Addrs(), Topic: topic, Partitions: 4, AllowSingleReplica: true,
			AppendTimeout: 3 * time.Second, SessionTimeout: 6 * time.Second, Dial: m.wire.dial})
		if err != nil {
			t.Fatal(err)
		}
		m.t, m.r = t, nil
		m.r, err = replicate.New(replicate.Config{Source: cluster.New("a", la, cluster.Options{}), Target: cluster.New("b", lb, cluster.Options{}), Master: "a", Journal: j,
			SharedJournal: true, IntentFirst: true, WriteTimeout: 3 * time.Second, JournalTimeout: 3 * time.Second, Grace: 500 * time.Millisecond, MasterLease: lease,
			Logger: slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn})).With("gateway", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_ = m.r.Close(ctx)
			_ = j.Close(ctx)
		})
		fleet = append(fleet, m)
	}
	// On a slow machine that takes longer than a write may, or than writes wait until a gateway that has just started
	// has heard who the master is.
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, answer, err := fleet[0].send("PUT", "/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
		if err == nil && (status == http.StatusOK || strings.Contains(answer.Raw, "already_exists")) {
			break
		}
		if err == nil || time.Now().After(end) {
			t.Fatalf("%d %s %v", status, answer.Raw, err)
		}
	}

	var mu sync.Mutex
	acked, last, failed := map[string]bool{}, make([]time.Time, 3), 0
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for w, m := range fleet {
		for k := range 2 {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id := fmt.Sprintf("%d-%d-%d", w, k, i)
					status, answer, err := m.send("PUT", "/"+index+"/_doc/"+id, fmt.Sprintf(`{"n":%d}`, i))
					own := new(esapi.Error)
					mu.Lock()
					switch {
					case err == nil && status < 300:
						acked[id], last[w] = true, time.Now()
					case errors.As(err, &own) && own.Status == 503:
						failed++
					default:
						t.Errorf("%s: %d %s %v", id, status, answer.Raw, err)
					}
					mu.Unlock()
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
	}
	lastOf := func(w int) time.Time {
		mu.Lock()
		defer mu.Unlock()
		return last[w]
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: it did not come to that", what)
			}
		}
	}
	for round := range 4 {
		time.Sleep(500 * time.Millisecond)
		to := []string{"b", "a"}[round%2]
		fleet[2].wire.set(true)
		cutAt := time.Now()
		until("the master is moved", func() bool {
			_, err := fleet[round%2].r.Switchover(t.Context(), replicate.SwitchRequest{Master: to})
			if err != nil {
				t.Log(err)
			}
			return err == nil
		})
		moved := time.Now()
		if quiet := lastOf(2); quiet.After(moved) || quiet.After(cutAt.Add(lease+time.Second)) {
			t.Errorf("the gateway without Kafka has acknowledged a write %s after it lost it", quiet.Sub(cutAt))
		}
		until("the others go on", func() bool { return lastOf(0).After(moved) && lastOf(1).After(moved) })
		if lastOf(2).After(moved) {
			t.Error("the gateway without Kafka acknowledges writes")
		}
		fleet[2].wire.set(false)
		until("it goes on when it has Kafka again", func() bool { return lastOf(2).After(moved) })
		if s := fleet[2].r.Status(t.Context()); s.Master != to || s.Epoch != uint64(round+2) {
			t.Errorf("%+v", s)
		}
		t.Logf("to %s: moved %s after the cut", to, moved.Sub(cutAt))
	}
	cancel()
	writers.Wait()
	until("everything is applied", func() bool {
		s := fleet[0].r.Status(t.Context())
		return s.Backlog == 0
	})
	check.Equal(t, la.real, lb.real, index)
	for _, l := range []*link{la, lb} {
		status, answer, err := l.real.Request(t.Context(), http.MethodPost, "/"+index+"/_refresh", "")
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, answer, err)
		}
		for id := range acked {
			status, _, err := l.real.Request(t.Context(), http.MethodHead, "/"+index+"/_doc/"+id, "")
			if err != nil || status != http.StatusOK {
				t.Errorf("%s was acknowledged, and at %s there is: %d %v", id, l.real.Version, status, err)
			}
		}
	}
	t.Logf("%d writes acknowledged, %d refused", len(acked), failed)
}
