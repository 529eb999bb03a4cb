package gateway

import (
	"net/http"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A body that has been made JSON is seen as such.
func TestWatchedBodyHasItsFormat(t *testing.T) {
	l := &look{}
	l.Request = &esapi.Request{Header: http.Header{"Content-Type": {"application/cbor"}}}
	req := esapi.NewRequest("POST", "/_search", []byte{0xa0})
	req.Header.Set("Content-Type", "application/cbor")
	if _, err := plainBody(req, esapi.Endpoint{API: "search"}, esapi.V(7, 17), 100); err != nil {
		t.Fatal(err)
	}
	l.read(req, nil)
	if got := l.Request.Header.Get("Content-Type"); got != "application/json" || string(l.Request.Body) != "{}" {
		t.Errorf("%s %s", got, l.Request.Body)
	}
}
