package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func TestAdminAPI(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 7, 17)
	p := newProcess(t)
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	for _, c := range []struct {
		method, path, body string
		code               int
		answer             string
	}{
		{"GET", "/esperanto/status", "", 200, `"gateway":"default","master":"a"`},
		{"GET", "/esperanto/status?gateway=default", "", 200, `"master":"a"`},
		{"GET", "/esperanto/status?gateway=x", "", 404, `there is no gateway x; there is: default`},
		{"POST", "/esperanto/status", "", 405, `use GET`},
		{"GET", "/esperanto/switchover", "", 405, `use POST`},
		{"POST", "/esperanto/switchover", "", 400, `the body is not the JSON`},
		{"POST", "/esperanto/switchover", "{}", 400, `the clusters are: a, b`},
		{"POST", "/esperanto/switchover", `{"master":"c"}`, 400, `there is no cluster c; the clusters are: a, b`},
		{"POST", "/esperanto/switchover", `{"master":"b","dry_run":true}`, 200, `"master":"b","epoch":2`},
		{"POST", "/esperanto/switchover", `{"master":"b"}`, 200, `"master":"b","epoch":2,"pause_ms":`},
		{"POST", "/esperanto/apply", `{"state":"stopped"}`, 400, `paused`},
		{"POST", "/esperanto/apply", `{"state":"paused"}`, 200, `{"state":"paused"}`},
		{"POST", "/esperanto/switchover", `{"master":"a"}`, 409, `"error":"the master was not moved","reason":`},
		{"POST", "/esperanto/apply", `{"state":"running"}`, 200, `{"state":"running"}`},
		{"GET", "/esperanto/dead_letters", "", 200, `{"dead_letters":[]}`},
		{"GET", "/esperanto/dead_letters?limit=x", "", 400, `limit x is no number from 1 to 10000`},
		{"GET", "/esperanto/dead_letters?limit=10001", "", 400, `from 1 to 10000`},
		{"POST", "/esperanto/dead_letters/retry", `{"all":true}`, 200, `{"done":0,"left":0}`},
		{"POST", "/esperanto/dead_letters/drop", `{"all":true}`, 200, `{"dropped":0}`},
		{"POST", "/esperanto/dead_letters/drop", `{}`, 400, `or all of them`},
	} {
		code, answer := p.tell(c.method, c.path, c.body)
		if code != c.code || !strings.Contains(strings.ReplaceAll(answer, `\u003c`, "<"), c.answer) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, answer)
		}
	}
}

// run runs one of the commands, as Caddy does.
func run(name string, args ...string) (string, error) {
	cmd := &cobra.Command{Use: name}
	caddycmd.Commands()[name].CobraFunc(cmd)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestCommands(t *testing.T) {
	a, b := newElasticsearch(t, 7, 17), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	address := fmt.Sprintf("localhost:%d", p.admin)
	for _, c := range []struct {
		args []string
		fail bool
		want string
	}{
		{[]string{"status"}, false, "gateway default: master a, epoch 1\n  a  master"},
		{[]string{"status", "--json"}, false, `"epoch": 1`},
		{[]string{"status", "--gateway", "x"}, true, "there is no gateway x"},
		{[]string{"switch", "b", "--dry-run"}, false, "possible: the master would be b, epoch 2"},
		{[]string{"switch", "b"}, false, "master b, epoch 2; writes waited "},
		{[]string{"switch", "c"}, true, "there is no cluster c; the clusters are: a, b"},
		{[]string{"switch"}, true, "accepts 1 arg"},
		{[]string{"dead-letters"}, false, ""},
		{[]string{"dead-letters", "drop", "--all"}, false, "0 dropped"},
		{[]string{"dead-letters", "retry"}, true, "by --all"},
		{[]string{"dead-letters", "burn"}, true, "it is list, retry or drop"},
	} {
		out, err := run(c.args[0], append(c.args[1:], "--address", address)...)
		if (err != nil) != c.fail || !strings.Contains(out, c.want) {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
	if code, answer := p.tell("POST", "/esperanto/apply", `{"state":"paused"}`); code != 200 {
		t.Fatal(answer)
	}
	out, err := run("switch", "a", "--address", address)
	if err == nil || !strings.Contains(out, "Error: the master was not moved: ") || !strings.Contains(out, "\n  next: ") {
		t.Errorf("a refused switchover: %v\n%s", err, out)
	}
	if out, err = run("status", "--address", "localhost:1"); err == nil || !strings.Contains(out, "is the gateway running?") {
		t.Errorf("no process: %v\n%s", err, out)
	}
}

func TestChangesCommand(t *testing.T) {
	if out, err := run("changes", "--from", "5", "--to", "8"); err != nil || !strings.Contains(out, "HitsTotalBecameAnObject") || !strings.Contains(out, "changes for a 5.6.16 client on a 8.17.0 cluster") {
		t.Errorf("%v %s", err, out)
	}
	for _, args := range [][]string{{}, {"--from", "2", "--to", "8"}, {"--from", "5", "--to", "9"}, {"--from", "5", "--to", "8", "--fidelity", "good"}} {
		if out, err := run("changes", args...); err == nil || !strings.HasPrefix(out, "Error: ") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
}

func TestMetrics(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	p.mustLoad(two(a, b, "switch_timeout 1m"), "")
	p.mustLoad(two(a, b, "switch_timeout 1m\nmax_body 1MB"), "") // metrics are registered anew, and go on
	p.ask("PUT", "/i/book/1", `{"n":1}`)
	p.tell("POST", "/esperanto/switchover", `{"master":"b"}`)
	p.ask("GET", "/i/book/1", "")
	p.ask("GET", "/_no/such/api", "")
	_, text := p.tell("GET", "/metrics", "")
	for _, want := range []string{
		`esperanto_requests_total{api="index",code="2xx",gateway="default",translated="false"}`,
		`esperanto_requests_total{api="get",code="2xx",gateway="default",translated="true"}`,
		`esperanto_requests_total{api="other",`,
		`esperanto_changes_total{change="`,
		`esperanto_writes_captured_total{gateway="default"} 1`,
		`esperanto_backlog_records{gateway="default"} `,
		`esperanto_lag_seconds{gateway="default"} `,
		`esperanto_open_intents{gateway="default"} `,
		`esperanto_dead_letters{gateway="default"} 0`,
		`esperanto_epoch{gateway="default"} 2`,
		`esperanto_switchover_pause_seconds{gateway="default"} `,
		`esperanto_cluster_up{cluster="b",gateway="default",role="master"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
