package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/tests/gateway"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// TestXcaddy builds a Caddy with xcaddy as xcaddy.json says, and has it answer
// for a cluster.
func TestXcaddy(t *testing.T) {
	harness.Real(t)
	ctx := testContext(t)
	file, err := os.ReadFile("../../xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		CaddyVersion string `json:"caddy_version"`
		Plugins      []struct {
			ModulePath string `json:"module_path"`
			Version    string `json:"version"`
		} `json:"plugins"`
		Replacements []struct {
			Old string `json:"old"`
			New string `json:"new"`
		} `json:"replacements"`
	}
	if err := json.Unmarshal(file, &config); err != nil || len(config.Plugins) != 1 || len(config.Replacements) != 1 {
		t.Fatalf("xcaddy.json: %v %s", err, file)
	}
	root, err := filepath.Abs(filepath.Join("../..", config.Replacements[0].New))
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(t.TempDir(), "caddy")
	plugin := config.Plugins[0]
	cmd := exec.CommandContext(ctx, "go", "tool", "xcaddy", "build", config.CaddyVersion, "--output", built,
		"--with", plugin.ModulePath+"@"+plugin.Version+"="+root)
	cmd.Dir = "../xcaddy"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xcaddy: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(ctx, built, "list-modules").Output(); err != nil || !strings.Contains(string(out), "http.handlers.esperanto") {
		t.Fatalf("its modules: %v\n%s", err, out)
	}

	es8 := harness.Elasticsearch(t, "8.7.1")
	g, err := gateway.Start(ctx, gateway.Options{Binary: built, Block: "cluster only {\nto " + es8.URL() + "\n}\nsource only\ndialect 5"})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if status, body, err := g.Request(ctx, "GET", "/", ""); err != nil || status != 200 || !strings.Contains(string(body), `"5.6.16"`) {
		t.Errorf("%d %s %v", status, body, err)
	}
}
