// Generate writes docs/differences.md from the catalogue. It runs in docs.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/esperanto-es/esperanto/docs"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

func main() {
	var b bytes.Buffer
	if err := docs.WriteDifferences(&b); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.WriteFile("differences.md", b.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
