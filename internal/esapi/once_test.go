package esapi

import "testing"

func TestKeysOnce(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"a":2}`: `{"a":2}`,
		` { "a" : 1, "b" : [ { "c":1, "c" : "x y" } ], "\u0061" : 1.0 } `: `{"b":[{"c":"x y"}],"\u0061":1.0}`,
		`{"a":{"a":1}}`:    `{"a":{"a":1}}`,
		`{"a":1 /* no */}`: `{"a":1 /* no */}`,
		``:                 ``,
	} {
		if got := string(KeysOnce([]byte(text))); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}
