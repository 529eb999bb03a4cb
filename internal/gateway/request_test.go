package gateway

import (
	"net/http"
	"testing"
)

func TestPlainTypes(t *testing.T) {
	for given, want := range map[string]string{
		"":                 "",
		"text/plain":       "text/plain",
		"application/json": "application/json",
		"application/vnd.elasticsearch+json; compatible-with=8":            "application/json",
		"application/vnd.elasticsearch+x-ndjson;compatible-with=8":         "application/x-ndjson",
		"application/vnd.elasticsearch+json; compatible-with=8,text/plain": "application/json,text/plain",
	} {
		h := http.Header{"Accept": {given}}
		plainTypes(h)
		if got := h.Get("Accept"); got != want {
			t.Errorf("of %q is left %q, not %q", given, got, want)
		}
	}
}
