package harness

import (
	"fmt"
	"io"
)

// reporter returns a function that writes a line to w, or nothing if w is nil.
func reporter(w io.Writer) func(format string, args ...any) {
	if w == nil {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}
