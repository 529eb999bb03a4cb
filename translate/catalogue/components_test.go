package catalogue_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

func sendTo(t *testing.T, stub *stubCluster, cluster esapi.Version, method, target, body string) int {
	t.Helper()
	sender := translate.NewSender(esapi.V(8, 7), cluster, newFakeFacts(), stub)
	a, err := sender.Send(context.Background(), esapi.NewRequest(method, target, []byte(body)))
	if own := new(esapi.Error); errors.As(err, &own) {
		return own.Status
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	return a.Status
}

// What the cluster refuses to delete is not told to be deleted.
func TestRefusedDeleteOfAComponent(t *testing.T) {
	stub := &stubCluster{t: t, answers: []part{
		{head: "200", body: `{"esperanto.component.c":{"mappings":{"_doc":{"_meta":{"esperanto":{"keeps":"{\"template\":{}}"}}}}}}`},
		{head: "403", body: `{"error":{"type":"security_exception","reason":"no"},"status":403}`},
	}}
	if status := sendTo(t, stub, esapi.V(6, 8), "DELETE", "/_component_template/c", ""); status != 403 {
		t.Errorf("status %d", status)
	}
}

// A template that is there already, and may not be replaced, keeps its patterns.
func TestRefusedCreateKeepsAllPatterns(t *testing.T) {
	stub := &stubCluster{t: t}
	for range 4 {
		stub.answers = append(stub.answers, part{head: "400", body: `{"error":{"type":"illegal_argument_exception","reason":"index_template [x] already exists"},"status":400}`})
	}
	if status := sendTo(t, stub, esapi.V(5, 6), "PUT", "/_index_template/x?create=true", `{"index_patterns":["x-*","y-*"]}`); status != 400 {
		t.Errorf("status %d", status)
	}
	for _, s := range stub.sent {
		if strings.HasPrefix(s.head, "DELETE") {
			t.Errorf("%s was sent", s.head)
		}
	}
}

// What keeps a component applies to no index, whatever the component says.
func TestComponentAppliesToNoIndex(t *testing.T) {
	stub := &stubCluster{t: t}
	sendTo(t, stub, esapi.V(6, 8), "PUT", "/_component_template/c", `{"template":{"index_patterns":["*"],"order":9,"settings":{"number_of_shards":1}}}`)
	for _, s := range stub.sent {
		if patterns := gjson.Get(s.body, "index_patterns"); patterns.Exists() && strings.Contains(patterns.Raw, "*") {
			t.Errorf("%s %s was sent", s.head, s.body)
		}
	}
}
