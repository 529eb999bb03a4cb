package translate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// answering is a cluster that answers everything with an empty object, and keeps
// what it was sent.
type answering struct {
	sent   []*esapi.Request
	answer string
}

func (a *answering) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	a.sent = append(a.sent, r)
	if a.answer == "" {
		return esapi.NewResponse(200, []byte("{}")), nil
	}
	return esapi.NewResponse(200, []byte(a.answer)), nil
}

// A body of nothing but brackets is the cluster's to refuse. A stack that grows
// with them would end the process.
func TestBodiesOfBracketsAreHarmless(t *testing.T) {
	brackets := []byte(strings.Repeat("[", 8<<20))
	for _, target := range []string{"/b/_search", "/_component_template/p", "/b/_doc/1", "/_bulk"} {
		cluster := &answering{}
		sender := translate.NewSender(esapi.V(8, 7), esapi.V(6, 8), nil, cluster)
		a, err := sender.Send(context.Background(), esapi.NewRequest("PUT", target, brackets))
		if err == nil {
			_ = a.Body.Close()
		}
	}
	sender := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), nil, &answering{})
	if a, err := sender.Send(context.Background(), esapi.NewRequest("POST", "/b/_search", brackets)); err == nil {
		_ = a.Body.Close()
	}
}
