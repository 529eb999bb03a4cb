package catalogue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// TestLongObjects: an object of very many members takes no more time than its
// length is worth.
func TestLongObjects(t *testing.T) {
	var keys, fields strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&keys, `"key%d":1,`, i)
		fmt.Fprintf(&fields, `"key%d":{"query":"x","type":"phrase"},`, i)
	}
	long, specs := keys.String()+`"last":1`, fields.String()+`"last":{}`
	for _, request := range []string{
		`POST /books/book/1/_update {` + long + `}`,
		`PUT /books/_settings {` + long + `}`,
		`POST /books/_search {"indices_boost":{` + long + `}}`,
		`POST /books/_search {"query":{"match":{` + specs + `}}}`,
		"POST /_msearch {" + long + "}\n{}\n",
	} {
		parts := strings.SplitN(request, " ", 3)
		r := esapi.NewRequest(parts[0], parts[1], []byte(parts[2]))
		r.Header.Set("Content-Type", "application/json")
		start := time.Now()
		a, err := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(), &stubCluster{t: t}).Send(context.Background(), r)
		if err != nil {
			t.Errorf("%s: %v", parts[1], err)
			continue
		}
		_ = a.Body.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.60s took %v", request, took)
		}
	}
}
