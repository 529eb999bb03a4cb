package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/tidwall/gjson"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestOneCluster(t *testing.T) {
	es := newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad("cluster only {\nto "+es.address+"\n}", "")
	if code, answer := p.ask("PUT", "/i/_doc/1", `{"a":1}`); code != 201 || !strings.Contains(answer, `"created"`) {
		t.Errorf("%d %s", code, answer)
	}
	if code, answer := p.ask("GET", "/i/_doc/1", ""); code != 200 || !strings.Contains(answer, `"_source":{"a":1}`) {
		t.Errorf("%d %s", code, answer)
	}
	s := p.status()
	if s["master"] != "only" || s["gateway"] != "default" || len(s["clusters"].([]any)) != 1 {
		t.Errorf("%v", s)
	}
}

func TestWritesReachTheSecondCluster(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, ""), "")
	p.known()
	for i := range 20 {
		if code, answer := p.ask("PUT", fmt.Sprintf("/i/book/%d", i), fmt.Sprintf(`{"n":%d}`, i)); code != 201 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	p.waitApplied()
	if len(a.Docs()) != 20 || len(b.Docs()) != 20 {
		t.Errorf("%d and %d documents; %v", len(a.Docs()), len(b.Docs()), p.status())
	}
}

// No request fails while the configuration is reloaded under load and the
// master is moved by it, and nothing is lost.
func TestReloadUnderLoad(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "master a\nswitch_timeout 1m"), "")
	p.known()

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var written, failed atomic.Int64
	for w := range 4 {
		// Two open a connection for each request, two keep theirs.
		client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: w%2 == 0}}
		defer client.CloseIdleConnections()
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("/i/_doc/%d-%d", w, i)
				code, answer, err := requestBy(client, "PUT", p.url()+path, `{"n":1}`)
				if err != nil || code != 201 {
					failed.Add(1)
					t.Errorf("PUT %s: %d %s %v", path, code, answer, err)
					return
				}
				written.Add(1)
				if code, answer, err = requestBy(client, "GET", p.url()+path, ""); err != nil || code != 200 {
					t.Errorf("GET %s: %d %s %v", path, code, answer, err)
					return
				}
			}
		})
	}
	for i, master := range []string{"b", "b", "a", "a", "b"} {
		time.Sleep(150 * time.Millisecond)
		if err := p.load(two(a, b, fmt.Sprintf("master %s\nswitch_timeout 1m\nmax_body %dMB", master, 10+i)), ""); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
		if m := p.status()["master"]; m != master {
			t.Errorf("after reload %d the master is %v, not %s", i, m, master)
		}
	}
	time.Sleep(100 * time.Millisecond)
	close(stop)
	wg.Wait()
	p.waitApplied()
	if n := int(written.Load()); len(a.Docs()) != n || len(b.Docs()) != n || n == 0 {
		t.Errorf("%d documents written; %d and %d are there", n, len(a.Docs()), len(b.Docs()))
	}
}

// Requests of a configuration that is given up before its gateways were started
// are answered.
func TestConfigurationGivenUp(t *testing.T) {
	a := &App{ready: make(chan struct{})}
	if err := a.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := a.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("%v", err)
	}
}

// A reload that cannot move the master fails, says why, and changes nothing.
func TestReloadThatCannotMoveTheMaster(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "master a\nswitch_timeout 1s"), "")
	p.ask("PUT", "/i/_doc/1", `{"n":1}`)
	p.waitApplied()
	b.Down(true)
	err := p.load(two(a, b, "master b\nswitch_timeout 1s"), "")
	if err == nil || !strings.Contains(err.Error(), "the master was not moved") {
		t.Errorf("reload: %v", err)
	}
	if code, answer := p.ask("PUT", "/i/_doc/2", `{"n":2}`); code != 201 {
		t.Errorf("after the failed reload: %d %s", code, answer)
	}
	if s := p.status(); s["master"] != "a" {
		t.Errorf("%v", s)
	}
	b.Down(false)
	p.waitApplied()
	if len(b.Docs()) != 2 {
		t.Errorf("%d documents", len(b.Docs()))
	}
}

// A master that was moved by hand stays when a configuration that still names
// the old one is reloaded.
func TestReloadKeepsAMasterThatWasMovedByHand(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	if code, answer := p.tell("POST", "/esperanto/switchover", `{"master":"b"}`); code != 200 {
		t.Fatalf("%d %s", code, answer)
	}
	p.mustLoad(two(a, b, "switch_timeout 1m\nmax_body 1MB"), "")
	if s := p.status(); s["master"] != "b" {
		t.Errorf("%v", s)
	}
}

// A job by query outlives the configuration under which it was begun, and is
// known to the next one.
func TestReloadKeepsJobs(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, ""), "")
	p.known()
	for i := range 30 {
		if code, answer := p.ask("PUT", fmt.Sprintf("/i/book/%d", i), fmt.Sprintf(`{"n":%d}`, i)); code != 201 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	code, answer := p.ask("POST", "/i/_update_by_query?wait_for_completion=false&scroll_size=10&requests_per_second=0.1", "")
	task := gjson.Get(answer, "task").String()
	if code != 200 || task == "" {
		t.Fatalf("%d %s", code, answer)
	}
	p.mustLoad(two(a, b, "max_body 1MB"), "")
	if _, answer = p.ask("GET", "/_tasks/"+task, ""); gjson.Get(answer, "completed").Raw != "false" {
		t.Errorf("%s", answer)
	}
	p.ask("POST", "/_update_by_query/"+task+"/_rethrottle?requests_per_second=-1", "")
	_, answer = p.ask("GET", "/_tasks/"+task+"?wait_for_completion=true&timeout=1m", "")
	if gjson.Get(answer, "response.updated").Int() != 30 || gjson.Get(answer, "response.batches").Int() != 3 {
		t.Errorf("%s", answer)
	}
	p.waitApplied()
	for _, d := range b.Docs() {
		if d.Version != 2 {
			t.Errorf("%+v", d)
		}
	}
}

// The second cluster is named later, and the nodes of a cluster change.
func TestReloadChangesClusters(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad("cluster a {\nto "+a.address+"\n}", "")
	p.ask("PUT", "/i/_doc/1", `{"n":1}`)
	p.mustLoad(two(a, b, ""), "")
	p.ask("PUT", "/i/_doc/2", `{"n":2}`)
	p.waitApplied()
	if len(b.Docs()) != 1 {
		t.Errorf("%d documents on the second cluster", len(b.Docs()))
	}
	moved := newElasticsearch(t, 7, 17)
	p.mustLoad(two(moved, b, ""), "")
	if code, answer := p.ask("GET", "/i/_doc/1", ""); code != 404 {
		t.Errorf("the old nodes still answer: %d %s", code, answer)
	}
}

func TestStartErrors(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	folder := t.TempDir()
	journal := "journal {\npath " + folder + "\n}"
	p.mustLoad(two(a, b, ""), journal)

	// The same journal for a gateway with other clusters.
	other := strings.NewReplacer("cluster b", "cluster c", "target b", "target c").Replace(two(a, b, ""))
	err := p.load(other, journal)
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), folder) {
		t.Errorf("a journal in use: %v", err)
	}
	if code, _ := p.ask("PUT", "/i/_doc/1", `{}`); code != 201 {
		t.Errorf("after a failed reload: %d", code)
	}
	err = p.load(strings.Replace(two(a, b, ""), "cluster b {", "cluster b {\nversion 7.17.1", 1), journal)
	if err == nil || !strings.Contains(err.Error(), "cluster b: its version cannot be changed by a reload") {
		t.Errorf("another version: %v", err)
	}
}

// The same with the journal in Kafka.
func TestJournalInKafka(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	journal := "journal {\nbrokers " + strings.Join(kafka.ListenAddrs(), " ") + "\nreplication 1\nsingle_replica\npartitions 2\n}"
	p.mustLoad(two(a, b, "switch_timeout 1m"), journal)
	for i := range 10 {
		if code, answer := p.ask("PUT", fmt.Sprintf("/i/_doc/%d", i), `{"n":1}`); code != 201 {
			t.Fatalf("%d %s", code, answer)
		}
	}
	p.mustLoad(two(a, b, "switch_timeout 1m\nmaster b"), journal)
	p.waitApplied()
	if s := p.status(); s["master"] != "b" || len(b.Docs()) != 10 {
		t.Errorf("%d documents; %v", len(b.Docs()), s)
	}
}

// Another order of the brokers is the same journal. With another list the gateway that
// takes writes without it would be another one beside itself.
func TestReloadChangesBrokers(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	journal := func(brokers ...string) string {
		return "journal {\nbrokers " + strings.Join(brokers, " ") + "\nreplication 1\nsingle_replica\npartitions 2\n}"
	}
	addresses := kafka.ListenAddrs()
	p.mustLoad(two(a, b, "journal_down accept"), journal(addresses...))
	gateway := func() string {
		_, answer := p.tell("GET", "/esperanto/status", "")
		return gjson.Get(answer, "members.0.instance").String()
	}
	before := gateway()
	p.mustLoad(two(a, b, "journal_down accept"), journal(addresses[1], addresses[0]))
	if now := gateway(); now != before || now == "" {
		t.Errorf("it is %s, not %s", now, before)
	}
	err = p.load(two(a, b, "journal_down accept"), journal(addresses[0]))
	if err == nil || !strings.Contains(err.Error(), "restart the process") {
		t.Errorf("%v", err)
	}
	if code, answer := p.ask("PUT", "/i/_doc/1", `{"n":1}`); code != 201 || gateway() != before {
		t.Errorf("%d %s", code, answer)
	}
}

// Several gateways in one process have names, journals and masters of their own.
func TestSeveralGateways(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	c, d := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	other := freePort(t)
	config := func(first, second string) string {
		return fmt.Sprintf("{\nadmin localhost:%d\npersist_config off\n}\nhttp://127.0.0.1:%d {\nesperanto %s {\n%s\n}\n}\nhttp://127.0.0.1:%d {\nesperanto %s {\n%s\n}\n}",
			p.admin, p.port, first, two(a, b, ""), other, second, two(c, d, "switch_timeout 1m"))
	}
	if err := loadFile(config("one", "one")); err == nil || !strings.Contains(err.Error(), "two different gateways are named one; give one of them another name") {
		t.Errorf("the same name twice: %v", err)
	}
	if err := loadFile(config("one", "two")); err != nil {
		t.Fatal(err)
	}
	if code, answer := p.tell("GET", "/esperanto/status", ""); code != 400 || !strings.Contains(answer, "there are several gateways: one, two") {
		t.Errorf("%d %s", code, answer)
	}
	if code, answer := p.tell("POST", "/esperanto/switchover?gateway=two", `{"master":"b"}`); code != 200 {
		t.Errorf("%d %s", code, answer)
	}
	if _, answer := p.tell("GET", "/esperanto/status?gateway=one", ""); !strings.Contains(answer, `"master":"a"`) {
		t.Errorf("%s", answer)
	}
	if code, answer, err := request("PUT", fmt.Sprintf("http://127.0.0.1:%d/i/book/1", other), `{"n":1}`); err != nil || code != 201 || len(d.Docs()) != 1 {
		t.Errorf("%d %s %v", code, answer, err)
	}
}

// Validation neither sends anything nor opens a journal.
func TestValidateTouchesNothing(t *testing.T) {
	var asked atomic.Int32
	address := node(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	folder := filepath.Join(t.TempDir(), "journal")
	caddyfile := fmt.Sprintf("{\nadmin off\nesperanto {\njournal {\npath %s\n}\n}\n}\n:0 {\nesperanto {\ncluster a {\nto %s\nhealth_uri /\nhealth_interval 10ms\n}\ncluster b {\nto %s\n}\nsource a\ntarget b\n}\n}", folder, address, address)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatal(err)
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Error(err)
	}
	time.Sleep(50 * time.Millisecond)
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("the journal's folder was made")
	}
}
