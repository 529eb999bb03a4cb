package catalogue_test

import (
	"context"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// A setting's name is no measure of how deep anything is nested.
func TestSettingsOfManyDots(t *testing.T) {
	name := "a" + strings.Repeat(".a", 500_000)
	r := esapi.NewRequest("PUT", "/_component_template/c", []byte(`{"template":{"settings":{"`+name+`":1}}}`))
	r.Header.Set("Content-Type", "application/json")
	a, err := translate.NewSender(esapi.V(8, 7), esapi.V(6, 8), newFakeFacts(), &stubCluster{t: t}).Send(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	r = esapi.NewRequest("PUT", "/_index_template/t", []byte(`{"index_patterns":["x"],"template":{"settings":{"`+name+`":1}}}`))
	r.Header.Set("Content-Type", "application/json")
	if a, err = translate.NewSender(esapi.V(8, 7), esapi.V(6, 8), newFakeFacts(), &stubCluster{t: t}).Send(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
}
