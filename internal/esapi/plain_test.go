package esapi

import (
	"strings"
	"testing"
)

// A text is plain that stands for itself in JSON, alone and in the midst of others.
func TestIsPlain(t *testing.T) {
	for c := range 256 {
		want := ' ' <= c && c <= '~' && c != '"' && c != '\\' || c == 0x7f
		for _, text := range []string{string([]byte{byte(c)}), "ab" + string([]byte{byte(c)}) + strings.Repeat("c", 20)} {
			if IsPlain(text) != want || IsPlain([]byte(text)) != want {
				t.Errorf("%q: not %v", text, want)
			}
		}
	}
	if !IsPlain("") {
		t.Error("nothing")
	}
}
