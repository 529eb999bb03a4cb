package caddymodule

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"golang.org/x/crypto/bcrypt"
)

// hash is a bcrypt hash; its salt differs each time.
var hash = regexp.MustCompile(`\$2a\$14\$[./A-Za-z0-9]{53}`)

// TestELA adapts the files in testdata. Behind the line of dashes stands the
// JSON, or what the error says.
func TestELA(t *testing.T) {
	files, err := filepath.Glob("testdata/ela/*.elatest")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".elatest"), func(t *testing.T) {
			golden(t, file, func(config []byte) ([]byte, error) {
				adapted, _, err := elaAdapter{}.Adapt(config, nil)
				if h := hash.Find(adapted); h != nil && bcrypt.CompareHashAndPassword(h, []byte("secret")) != nil {
					t.Errorf("%s is not the hash of the password", h)
				}
				return hash.ReplaceAll(adapted, []byte("<hash>")), err
			})
		})
	}
}

func TestELAWarnings(t *testing.T) {
	_, warnings, err := elaAdapter{}.Adapt([]byte(`gateway:
  address: :8080
  source_es: a
  ssl: true
elastics:
  a:
    addresses: [http://a:9200]
    sniff: false
  b:
    addresses: [http://b:9200]
threads: 5
`), map[string]any{"filename": "config.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprintf("%s:%d %s", w.File, w.Line, w.Directive))
	}
	want := "config.yaml:4 gateway.ssl|config.yaml:8 elastics.a.sniff|config.yaml:11 threads|config.yaml:0 gateway.user|config.yaml:9 elastics.b"
	if strings.Join(got, "|") != want {
		t.Errorf("%s", strings.Join(got, "|"))
	}
}

// A file of ELA works: clients need credentials, and the clusters get theirs.
func TestELARuns(t *testing.T) {
	a, b := newElasticsearch(t, 5, 6), newElasticsearch(t, 8, 7)
	p := newProcess(t)
	adapted, _, err := caddyconfig.GetAdapter("ela").Adapt([]byte(fmt.Sprintf(`level: error
gateway:
  address: 127.0.0.1:%d
  user: admin
  password: secret
  source_es: es5
  target_es: es8
  master: es5
elastics:
  es5:
    addresses: [%q]
    user: u
    password: "{p}"
  es8:
    addresses: [%q]
`, p.port, a.address, b.address)), nil)
	if err != nil {
		t.Fatal(err)
	}
	adapted = []byte(strings.Replace(string(adapted), "{", fmt.Sprintf(`{"admin":{"listen":"localhost:%d","config":{"persist":false}},`, p.admin), 1))
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.ask("PUT", "/i/book/1", `{"n":1}`); code != 401 {
		t.Errorf("without credentials: %d", code)
	}
	for range 20 { // each would take a second without the cache of hashes
		code, answer, err := request("PUT", fmt.Sprintf("http://admin:secret@127.0.0.1:%d/i/book/1", p.port), `{"n":1}`)
		if err != nil || code > 201 {
			t.Fatalf("%d %s %v", code, answer, err)
		}
	}
	p.waitApplied()
	if len(b.Docs()) != 1 {
		t.Errorf("%d documents", len(b.Docs()))
	}
}
