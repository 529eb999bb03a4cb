package readiness

import (
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/gateway"
	"github.com/esperanto-es/esperanto/translate"
)

// An id is masked whatever characters it has, and also where the cluster knows
// the document by another one.
func TestIDsAreMaskedInEveryForm(t *testing.T) {
	v := esapi.V(5, 6)
	for _, path := range []string{"/b/t/john&jane", "/b/t/a;b", "/b/t/a+b", "/b/t/50%25", "/b/t/a%2Fb"} {
		got := maskTarget(esapi.ParseEndpoint("PUT", path, v), "PUT", path, esapi.Params{})
		if got != "PUT /b/t/{…}" {
			t.Errorf("%s is shown as %s", path, got)
		}
	}
	s := gateway.Sight{Dialect: v, Endpoint: esapi.ParseEndpoint("GET", "/b/comment/jane", v), Request: esapi.NewRequest("GET", "/b/comment/jane", nil)}
	trial := &translate.Trial{Sent: esapi.NewRequest("GET", "/b/_doc/comment%23jane", nil)}
	if e := exampleOf(s, nil, trial, esapi.V(8, 7)); strings.Contains(e.Sent, "jane") {
		t.Errorf("shown as %s", e.Sent)
	}
}

// The reason of a refusal may repeat what the user gave.
func TestReasonsAreMasked(t *testing.T) {
	got := maskReason(`the shape "POINT (2.35 \"48.85)" ("x" is no number): not possible for a 7.10 client on an Elasticsearch 6.1.0 cluster`)
	if want := `the shape "…" ("…" is no number): not possible for a 7.10 client on an Elasticsearch 6.1.0 cluster`; got != want {
		t.Errorf("%s", got)
	}
}

// Reads that wait for their second look hold no more than the queue's share.
func TestSecondLooksAreBounded(t *testing.T) {
	c := &comparer{}
	for range maxSecond {
		c.later(doubt{read: gateway.Sight{Request: &esapi.Request{Body: make([]byte, 1<<20)}}}, 0)
	}
	held := 0
	for _, d := range c.again {
		held += len(d.read.Request.Body)
	}
	if held > againBytes || len(c.again) == 0 || c.dropped.Load() == 0 {
		t.Errorf("%d bytes are held, %d reads were dropped", held, c.dropped.Load())
	}
}
