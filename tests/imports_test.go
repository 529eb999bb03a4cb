package tests

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/esperanto-es/esperanto"

// TestImports keeps the parts apart: only caddymodule, and what is a Caddy with
// it, reaches Caddy; translate reaches neither replication nor the network.
func TestImports(t *testing.T) {
	withCaddy := map[string]bool{module: true, module + "/caddymodule": true, module + "/cmd/esperanto": true}
	for path, deps := range dependencies(t) {
		for _, dep := range deps {
			if strings.HasPrefix(dep, "github.com/caddyserver/") && !withCaddy[path] {
				t.Errorf("%s reaches %s", path, dep)
			}
			if !strings.HasPrefix(path, module+"/translate") && path != module+"/internal/esapi" {
				continue
			}
			for _, forbidden := range []string{module + "/replicate", module + "/internal/cluster", module + "/internal/gateway", "github.com/twmb/franz-go", "github.com/cockroachdb/pebble"} {
				if strings.HasPrefix(dep, forbidden) {
					t.Errorf("%s reaches %s", path, dep)
				}
			}
		}
	}
}

// dials finds what opens connections: net/http has types that translate needs,
// but its client is not for it.
var dials = regexp.MustCompile(`\bhttp\.(Get|Post|PostForm|Head)\(|\bhttp\.(DefaultClient|DefaultTransport|Client|Transport)\b|\bnet\.(Dial|Listen)|"net"$`)

func TestTranslateDoesNotDial(t *testing.T) {
	for _, folder := range []string{"../translate", "../internal/esapi"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for i, line := range strings.Split(string(source), "\n") {
				if dials.MatchString(line) {
					t.Errorf("%s:%d: %s", path, i+1, line)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// dependencies are the packages of this module with all that they need, without
// their tests.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		deps[f[0]] = f[1:]
	}
	if len(deps) < 5 {
		t.Fatalf("only %d packages", len(deps))
	}
	return deps
}
