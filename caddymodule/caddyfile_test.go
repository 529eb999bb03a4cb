package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var rewrite = flag.Bool("rewrite", false, "write the JSON that is found into the goldens")

// TestCaddyfiles adapts the Caddyfiles in testdata. Behind the line of dashes
// stands the JSON, or what the error says.
func TestCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			golden(t, file, func(config []byte) ([]byte, error) {
				adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": "Caddyfile"})
				return adapted, err
			})
		})
	}
}

// golden compares what adapt makes of a file's first part with the second.
func golden(t *testing.T, file string, adapt func(config []byte) ([]byte, error)) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, want, found := strings.Cut(string(raw), "----------\n")
	if !found {
		t.Fatal("no line of dashes")
	}
	want = strings.TrimSpace(want)
	adapted, err := adapt([]byte(config))
	if strings.HasPrefix(filepath.Base(file), "error_") {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v\nwanted: %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(config+"----------\n"+pretty.String()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if pretty.String() != want {
		t.Errorf("got:\n%s", pretty.String())
	}
}
