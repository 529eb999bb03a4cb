package translate_test

import (
	"context"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

type forgetful struct{ forgot int }

func (f *forgetful) Index(context.Context, string) (translate.IndexFacts, bool, error) {
	return translate.IndexFacts{}, false, nil
}
func (f *forgetful) Expand(context.Context, string) ([]string, error) { return nil, nil }
func (f *forgetful) Learn(context.Context, string, string) error      { return nil }
func (f *forgetful) AddType(context.Context, string, string, translate.TypesSetting) (translate.IndexFacts, bool, error) {
	return translate.IndexFacts{}, false, nil
}
func (f *forgetful) ForgetAll()             { f.forgot++ }
func (f *forgetful) Forget(names ...string) { f.forgot++ }

type acknowledging struct{}

func (acknowledging) Send(context.Context, *esapi.Request) (*esapi.Response, error) {
	return esapi.NewResponse(200, []byte(`{"acknowledged":true}`)), nil
}

// What was known of indices is forgotten when a request changes them, not when
// it only reads.
func TestFactsAreForgottenAfterChanges(t *testing.T) {
	facts := &forgetful{}
	s := translate.NewSender(translate.V(7, 17), translate.V(5, 6), facts, acknowledging{})
	for _, q := range []struct {
		method, target, body string
		forgets              bool
	}{
		{"PUT", "/books", `{"mappings":{"properties":{"n":{"type":"date"}}}}`, true},
		{"PUT", "/books/_mapping", `{"properties":{"m":{"type":"date"}}}`, true},
		{"POST", "/_aliases", `{"actions":[{"add":{"index":"books","alias":"library"}}]}`, true},
		{"DELETE", "/books", "", true},
		{"GET", "/books/_search", "", false},
		{"GET", "/books/_mapping", "", false},
	} {
		before := facts.forgot
		if _, err := s.Send(t.Context(), esapi.NewRequest(q.method, q.target, []byte(q.body))); err != nil {
			t.Fatalf("%s %s: %v", q.method, q.target, err)
		}
		if got := facts.forgot > before; got != q.forgets {
			t.Errorf("%s %s: forgotten %v, want %v", q.method, q.target, got, q.forgets)
		}
	}
}
