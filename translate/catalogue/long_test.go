package catalogue_test

import (
	"context"
	"fmt"
	"math"
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
		least := time.Duration(math.MaxInt64) // what else the machine does makes it longer
		for tries := 0; least > 5*time.Second && tries < 3; tries++ {
			r := esapi.NewRequest(parts[0], parts[1], []byte(parts[2]))
			r.Header.Set("Content-Type", "application/json")
			start := time.Now()
			a, err := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), newFakeFacts(), &stubCluster{t: t}).Send(context.Background(), r)
			if err != nil {
				t.Errorf("%s: %v", parts[1], err)
				break
			}
			_ = a.Body.Close()
			least = min(least, time.Since(start))
		}
		if least > 5*time.Second {
			t.Errorf("%.60s took %v", request, least)
		}
	}
}
