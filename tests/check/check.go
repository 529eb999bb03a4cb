// Package check holds the final checks of tests that replicate: what must be
// true of two clusters in the end.
package check

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// A Document is what both clusters must agree on. Source is the text, so that a
// changed number or key shows.
type Document struct {
	Version int64
	Routing string
	Source  string
}

// Equal fails the test unless an index holds the same documents on both clusters:
// id, version, routing and source.
func Equal(t testing.TB, a, b *harness.Cluster, index string) {
	t.Helper()
	for _, d := range Differences(t, a, b, index) {
		t.Error(d)
	}
}

// eventually is how long Eventually waits.
const eventually = 3 * time.Minute

// Eventually waits until Equal holds.
func Eventually(t testing.TB, a, b *harness.Cluster, index string) {
	t.Helper()
	for end := time.Now().Add(eventually); len(Differences(t, a, b, index)) > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	Equal(t, a, b, index)
}

// mostDifferences bounds what is reported.
const mostDifferences = 20

// Differences says what differs, at most 20 of it.
func Differences(t testing.TB, a, b *harness.Cluster, index string) []string {
	t.Helper()
	inA, inB := Documents(t, a, index), Documents(t, b, index)
	var all []string
	for id, d := range inA {
		switch other, ok := inB[id]; {
		case !ok:
			all = append(all, fmt.Sprintf("%s/%s: %+v on %s, missing on %s", index, id, d, a.Version, b.Version))
		case other != d:
			all = append(all, fmt.Sprintf("%s/%s: %+v on %s, %+v on %s", index, id, d, a.Version, other, b.Version))
		}
	}
	for id, d := range inB {
		if _, ok := inA[id]; !ok {
			all = append(all, fmt.Sprintf("%s/%s: %+v on %s, missing on %s", index, id, d, b.Version, a.Version))
		}
	}
	if more := len(all) - mostDifferences; more > 0 {
		all = append(all[:mostDifferences], fmt.Sprintf("and %d more", more))
	}
	return all
}

// Documents reads all documents of an index, by id. A missing index holds none.
func Documents(t testing.TB, c *harness.Cluster, index string) map[string]Document {
	t.Helper()
	all := map[string]Document{}
	if status, _ := c.Do(t, "POST", "/"+index+"/_refresh", ""); status == 404 {
		return all
	}
	status, body := c.Do(t, "POST", "/"+index+"/_search?scroll=1m", `{"size":5000,"version":true}`)
	for {
		var page struct {
			ScrollID string `json:"_scroll_id"`
			Hits     struct {
				Hits []struct {
					ID      string          `json:"_id"`
					Version int64           `json:"_version"`
					Routing string          `json:"_routing"`
					Source  json.RawMessage `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		if err := json.Unmarshal(body, &page); err != nil || status != 200 {
			t.Fatalf("reading %s from %s: %d %v %.500s", index, c.Version, status, err, body)
		}
		if len(page.Hits.Hits) == 0 {
			return all
		}
		for _, h := range page.Hits.Hits {
			all[h.ID] = Document{h.Version, h.Routing, string(h.Source)}
		}
		status, body = c.Do(t, "POST", "/_search/scroll", fmt.Sprintf(`{"scroll":"1m","scroll_id":%q}`, page.ScrollID))
	}
}
