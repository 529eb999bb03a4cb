package clients

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/clients.md")

const documentFile = "../../docs/clients.md"

// TestDocument compares docs/clients.md with the table and what is expected to
// differ.
func TestDocument(t *testing.T) {
	want, err := document()
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(documentFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(documentFile); err != nil || string(got) != want {
		t.Errorf("docs/clients.md is not what the tests do (%v): run go test ./tests/clients -run TestDocument -rewrite", err)
	}
}

// languages are what the names of clients begin with.
var languages = map[string]string{"go": "Go", "java": "Java", "node": "JavaScript", "python": "Python"}

func document() (string, error) {
	var b strings.Builder
	b.WriteString(`# Client libraries that are tested

Each does a day's work of an application, with its library's own helpers: once on a real cluster of its own major, once through the gateway
on clusters of other majors. What the library hands to the application, its errors included, has to be equal step by step. The programs are in
[tests/clients](../tests/clients); ` + "`make test`" + ` runs them, this page is written by ` + "`go test ./tests/clients -run TestDocument -rewrite`" + `.

| language | library | version | written for | through the gateway on |
|---|---|---|---|---|
`)
	for _, c := range clients {
		version, err := c.version()
		if err != nil {
			return "", err
		}
		var on []string
		for _, major := range c.on {
			on = append(on, releases[major])
		}
		language, _, _ := strings.Cut(c.name, "-")
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", languages[language], c.library, version, releases[c.major], strings.Join(on, ", "))
	}
	b.WriteString("\n## What differs\n\n| pairs | clients | step | why |\n|---|---|---|---|\n")
	expected, err := readExpected()
	if err != nil {
		return "", err
	}
	for _, e := range expected {
		names := strings.Join(e.clients, ", ")
		if names == "" {
			names = "all"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.ReplaceAll(strings.Join(e.pairs, ", "), "->", " on "), names, e.step, e.reason)
	}
	return b.String(), nil
}
