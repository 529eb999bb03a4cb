package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/check"
	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestTenSwitchesUnderLoad moves the master ten times to and fro under eight
// writing threads: by the admin API, by the command, and by a changed Caddyfile.
func TestTenSwitchesUnderLoad(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5, es8 := harness.Elasticsearch(t, "5.6.16"), harness.Elasticsearch(t, "8.7.1")
	index := es5.Prefix(t) + "switched"
	es8.Prefix(t)
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	createIndex(t, g, index)

	w := write(t, g, index, 8, 2)
	var pauses []float64 // in milliseconds
	byAdmin := func(to string) error {
		status, body, err := g.AdminRequest(ctx, "POST", "/esperanto/switchover", fmt.Sprintf(`{"master":%q}`, to))
		if err != nil || status != 200 {
			return fmt.Errorf("%d %s %w", status, body, err)
		}
		var result struct {
			PauseMS float64 `json:"pause_ms"`
		}
		if err := json.Unmarshal(body, &result); err != nil {
			return err
		}
		pauses = append(pauses, result.PauseMS)
		return nil
	}
	byCommand := func(to string) error {
		out, err := g.Command(ctx, "switch", to)
		t.Logf("esperanto switch: %s", out)
		return err
	}
	byReload := func(to string) error {
		if err := g.Configure(gateway.Options{Binary: gateway.Built(t), Block: block(es5, es8, to)}); err != nil {
			return err
		}
		out, err := g.Reload(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for i, move := range []func(string) error{byAdmin, byAdmin, byCommand, byCommand, byReload, byReload, byAdmin, byAdmin, byReload, byReload} {
		to := []string{target, source}[i%2]
		time.Sleep(500 * time.Millisecond)
		if err := move(to); err != nil {
			t.Fatalf("switch %d to %s: %v", i+1, to, err)
		}
		s, err := g.Status(ctx)
		if err != nil || s.Master != to {
			t.Fatalf("switch %d: the status says %+v %v", i+1, s, err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	w.pause()
	for _, err := range w.failures() {
		t.Errorf("a request failed: %v", err)
	}
	waitApplied(t, g)
	t.Logf("%d acknowledged writes, 10 switches, pauses by the admin API %v ms", w.acked(), pauses)
	if slices.Max(pauses) <= 0 {
		t.Error("the pause was not reported")
	}
	w.checkAcknowledged(t, es5)
	w.checkAcknowledged(t, es8)
	check.Equal(t, es5, es8, index)
}

// TestSwitchIsRefusedWhileTheFollowerIsDown checks that nothing changes then, and
// that the error says why.
func TestSwitchIsRefusedWhileTheFollowerIsDown(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	es5 := harness.Elasticsearch(t, "5.6.16")
	es8 := harness.NewElasticsearch(t, harness.Options{Version: "8.7.1"})
	index := es5.Prefix(t) + "refused"
	g := start(t, gateway.Options{Block: block(es5, es8, source)})
	createIndex(t, g, index)
	w := write(t, g, index, 2, 3)
	time.Sleep(300 * time.Millisecond)

	if err := es8.Kill(); err != nil {
		t.Fatal(err)
	}
	out, err := g.Command(ctx, "switch", target)
	if err == nil {
		t.Fatalf("the switch succeeded: %s", out)
	}
	if !strings.Contains(out, target) {
		t.Errorf("the reason does not name the follower: %s", out)
	}
	if s, err := g.Status(ctx); err != nil || s.Master != source {
		t.Errorf("the status says %+v %v", s, err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := es8.Start(ctx); err != nil {
		t.Fatal(err)
	}
	w.pause()
	for _, err := range w.failures() {
		t.Errorf("a request failed: %v", err)
	}
	waitApplied(t, g)
	w.checkAcknowledged(t, es8)
	check.Equal(t, es5, es8, index)
}
