package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// With journal_down accept the writers go on while the only broker is down, longer
// than the gateway's lease, and both clusters are equal when it is back; also if
// the gateway is killed meanwhile.
func TestBrokerKilledAndWritesAccepted(t *testing.T) {
	r := shared(t, "5.6.16", "7.10.2")
	k := harness.NewKafka(t, harness.KafkaOptions{})
	r.inKafka(k)
	r.options += "\njournal_timeout 2s\nmaster_lease 2s\njournal_down accept"
	g := r.start()
	l := r.write(6)
	for n := range 2 * *rounds {
		l.await(100, longest)
		r.killBrokers(k, 1)
		time.Sleep(3 * time.Second)
		l.await(200, longest)
		if owed := r.status(g).Get("resync_owed").Int(); owed == 0 {
			t.Error("nothing is owed")
		}
		if status, body, err := g.AdminRequest(testContext(t), "POST", "/esperanto/switchover", `{"master":"b"}`); err != nil || status != 409 {
			t.Errorf("a switchover: %d %s %v", status, body, err)
		}
		if n%2 == 1 {
			r.blow(g.Kill())
		}
		r.startBrokers(k, 1)
		if n%2 == 1 {
			if err := g.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		l.await(100, longest)
	}
	l.stop()
	r.resynced(g)
	r.final()
	if _, log, found := strings.Cut(g.Log(), "an index was resynced"); !found {
		t.Errorf("nothing was resynced: %s", log)
	}
}

func (r *rig) status(g *gateway.Gateway) gjson.Result {
	_, body, err := g.AdminRequest(testContext(r.T), "GET", "/esperanto/status", "")
	if err != nil {
		r.Fatal(err)
	}
	return gjson.ParseBytes(body)
}

// resynced waits until a gateway owes nothing, and nothing is to be resynced: what is
// in the journal may ask for it.
func (r *rig) resynced(g *gateway.Gateway) {
	r.Helper()
	for end := time.Now().Add(2 * longest); ; time.Sleep(100 * time.Millisecond) {
		s := r.status(g)
		if s.Get("resync_owed").Int()+s.Get("backlog").Int()+s.Get("open_intents").Int()+s.Get("resync_waiting").Int() == 0 {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("not resynced: %s", s.Raw)
		}
	}
}
