package catalogue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// TestManyIDsOfManyTypes: what a query on many ids becomes for many indices does
// not grow with the product of both.
func TestManyIDsOfManyTypes(t *testing.T) {
	const indices, ids = 100, 1000
	facts := newFakeFacts()
	for i := range indices {
		facts.parse(fmt.Sprintf("shop%d book,+order\n", i))
	}
	var values, uids []string
	for i := range ids {
		values = append(values, fmt.Sprintf(`"%d"`, i))
		uids = append(uids, fmt.Sprintf(`"%s#%d"`, []string{"book", "order"}[i%2], i))
	}
	for _, query := range []string{
		`{"ids":{"type":["book","order"],"values":[` + strings.Join(values, ",") + `]}}`,
		`{"terms":{"_uid":[` + strings.Join(uids, ",") + `]}}`,
	} {
		r := esapi.NewRequest("POST", "/_search", []byte(`{"query":`+query+`}`))
		trial := translate.Try(translate.WithTypes(t.Context(), translate.SplitTypes), esapi.V(5, 6), esapi.V(8, 7), facts, r)
		if trial.Err != nil {
			t.Fatal(trial.Err)
		}
		if n := len(trial.Sent.Body); n > 3*len(query) || !strings.Contains(string(trial.Sent.Body), `"999"`) {
			t.Errorf("%d bytes of a query became %d: %.300s", len(query), n, trial.Sent.Body)
		}
	}
}
