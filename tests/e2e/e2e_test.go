// Package e2e runs the real binary in front of real clusters and breaks things.
package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// limit bounds one test.
const limit = 15 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestMain(m *testing.M) {
	os.Exit(gateway.Main(m))
}

const (
	source = "source-es5"
	target = "target-es8"
)

// block is an esperanto directive over two clusters.
func block(a, b *harness.Cluster, master string) string {
	return fmt.Sprintf("cluster %s {\nto %s\n}\ncluster %s {\nto %s\n}\nsource %[1]s\ntarget %[3]s\nmaster %[5]s\ngrace 2s\nswitch_timeout 9s",
		source, a.URL(), target, b.URL(), master)
}

// start runs a gateway for the test and shows its log if the test fails.
func start(t *testing.T, o gateway.Options) *gateway.Gateway {
	o.Binary = gateway.Built(t)
	g, err := gateway.Start(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.Log())
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// createIndex creates an index with a mapping type, as a 5.x application does, again if a slow cluster or journal has
// not answered in time.
func createIndex(t *testing.T, g *gateway.Gateway, name string) {
	t.Helper()
	again := false
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, body, err := g.Request(testContext(t), "PUT", "/"+name, `{"settings":{"number_of_shards":2,"number_of_replicas":0},
			"mappings":{"book":{"properties":{"title":{"type":"text"},"n":{"type":"long"}}}}}`)
		if err == nil && (status == 200 || again && strings.Contains(string(body), "already_exists")) {
			return
		}
		if err != nil || status < 500 || time.Now().After(end) {
			t.Fatalf("creating %s: %d %s %v", name, status, body, err)
		}
		again = true
	}
}

func waitApplied(t *testing.T, g *gateway.Gateway) {
	// Kafka gives the partitions of a killed gateway to another one after 10 s.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := g.WaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
}
