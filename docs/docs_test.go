package docs

import (
	"bytes"
	"os"
	"testing"

	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

func TestDifferencesAreUpToDate(t *testing.T) {
	var want bytes.Buffer
	if err := WriteDifferences(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("differences.md")
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("differences.md is not what the catalogue says (%v); run go generate ./docs", err)
	}
}
