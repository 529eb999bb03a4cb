package catalogue_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// TestManyIndicesAreJoined: what shows many indices of types as one takes time in
// proportion to their number.
func TestManyIndicesAreJoined(t *testing.T) {
	answer := func(indices int) (facts *fakeFacts, body string) {
		facts = newFakeFacts()
		var states []string
		for i := range indices {
			facts.parse(fmt.Sprintf("shop%d book,+order\n", i))
			states = append(states, fmt.Sprintf(`"shop%d-order":{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"order"}},"properties":{"n":{"type":"long"}}}}`, i),
				fmt.Sprintf(`"shop%d":{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}},"properties":{"title":{"type":"text"}}}}`, i))
		}
		return facts, "{" + strings.Join(states, ",") + "}"
	}
	took := func(indices int) time.Duration {
		facts, body := answer(indices)
		stub := &stubCluster{t: t, answers: []part{{head: "200", body: body}}}
		s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), facts, stub)
		began := time.Now()
		got := roundTrip(t, s, translate.WithTypes(t.Context(), translate.SplitTypes), esapi.NewRequest("GET", "/_mapping", nil))
		if n := strings.Count(got.body, `"order":`); n != indices || strings.Contains(got.body, "-order") {
			t.Errorf("%d of %d types are shown: %.300s", n, indices, got.body)
		}
		return time.Since(began)
	}
	few, many := max(took(300), took(300)), took(3000)
	for tries := 0; many > 40*few && tries < 10; tries++ { // what else the machine does makes it longer
		many = min(many, took(3000))
	}
	if many > 40*few { // it would be about 100, were it quadratic
		t.Errorf("300 indices took %v, 3000 took %v", few, many)
	}
}
