package sites

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// direct sends requests to a real cluster.
type direct struct{ c *harness.Cluster }

func (d direct) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	body := ""
	if reader := r.Reader(); reader != nil {
		raw, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	target := r.Path
	if q := r.Params.Encode(); q != "" {
		target += "?" + q
	}
	status, answer, err := d.c.Request(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{Status: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(answer)))}, nil
}

// What the rule builds on, on every version that is spoken: external_gte takes a version
// that is there, found or deleted, for documents and for deletions, in bulks and alone;
// external does not; and a deletion that is remembered tells its version.
func TestVersionsOfOneAreOrdered(t *testing.T) {
	harness.Real(t)
	for _, version := range []string{"5.6.16", "6.8.23", "7.17.28", "8.7.1"} {
		t.Run(version, func(t *testing.T) {
			real := harness.Elasticsearch(t, version)
			index := real.Prefix(t) + "books"
			if status, answer := real.Do(t, "PUT", "/"+index, `{"settings":{"number_of_replicas":0}}`); status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
			c := cluster.New("c", direct{real}, cluster.Options{})
			defer c.Close()
			id := cluster.DocID{Index: index, Type: "book", ID: "1"}
			write := func(want int, version int64, source string, again bool) {
				t.Helper()
				d := cluster.Doc{DocID: id, Version: version, Found: source != "", Source: []byte(source), Again: again}
				results, err := c.WriteExternal(t.Context(), []cluster.Doc{d})
				if err != nil || results[0].OK() != (want < 300) || (want == 409) != (results[0].Status == 409) {
					t.Errorf("version %d %s: %+v, %v", version, source, results, err)
				}
			}
			for _, line := range []string{"", "\n"} { // with a line end it goes alone
				write(200, 5, `{"n":1`+line+`}`, false)
				write(409, 5, `{"n":2`+line+`}`, false)
				write(200, 5, `{"n":2`+line+`}`, true)
				write(409, 4, `{"n":3`+line+`}`, true)
				write(409, 5, "", false)
				write(200, 5, "", true)
				write(200, 5, "", true)
				write(409, 5, `{"n":4`+line+`}`, false)
				write(200, 5, `{"n":5`+line+`}`, true)
				write(409, 4, "", true)
				write(200, 7, "", false)
				got, err := c.Remembered(t.Context(), []cluster.DocID{id, {Index: index, Type: "book", ID: "never"}})
				if want := []cluster.Tombstone{{Version: 7}, {}}; err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%v, %v; want %v", got, err, want)
				}
				write(409, 7, `{"n":6`+line+`}`, false)
				id.ID = "2"
			}
			never := cluster.DocID{Index: index, Type: "book", ID: "never"}
			id = never
			write(200, 1, `{"n":1}`, false) // asking has left nothing behind
		})
	}
}
