package translate_test

import (
	"context"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// What an exchange sends in more than one request is all asked for by the client:
// without its credentials it would be refused, or be done with the gateway's own,
// who may do more.
func TestStepsHaveTheClientsCredentials(t *testing.T) {
	cluster := &answering{}
	sender := translate.NewSender(esapi.V(8, 7), esapi.V(6, 8), nil, cluster)
	r := esapi.NewRequest("PUT", "/_index_template/x", []byte(`{"index_patterns":["x-*"]}`))
	want := map[string]string{"Authorization": "Basic eDp5", "Es-Security-Runas-User": "jack", "X-Opaque-Id": "7"}
	for name, value := range want {
		r.Header.Set(name, value)
	}
	a, err := sender.Send(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	if len(cluster.sent) < 2 {
		t.Fatalf("%d requests were sent", len(cluster.sent))
	}
	for _, sent := range cluster.sent {
		for name, value := range want {
			if got := sent.Header.Get(name); got != value {
				t.Errorf("%s %s has the %s %q", sent.Method, sent.Path, name, got)
			}
		}
	}
}
