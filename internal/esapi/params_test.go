package esapi_test

import (
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Elasticsearch takes the last one of several with one name.
func TestRepeatedParams(t *testing.T) {
	p := esapi.ParseParams("routing=a&refresh&routing=b")
	if got := p.Get("routing"); got != "b" || len(p.Keys()) != 2 {
		t.Errorf("%q %v", got, p.Keys())
	}
	p.Set("routing", "c")
	if got := p.Encode(); got != "routing=a&refresh&routing=c" {
		t.Error(got)
	}
}
