// Package docs generates the documents that come out of the code.
package docs

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"

	"github.com/esperanto-es/esperanto/translate"
)

//go:generate go run ./internal/generate

//go:embed conformance.json
var conformance []byte

// A Conformance is how a pair does in Elasticsearch's own tests: of those that
// could pass, how many do. make conformance writes them to conformance.json.
type Conformance struct {
	Pair            string `json:"pair"` // "5->8": the tests of 5, on a cluster of 8
	DocumentsPassed int    `json:"documents_passed"`
	Documents       int    `json:"documents"`
	AllPassed       int    `json:"all_passed"`
	All             int    `json:"all"`
	Cannot          int    `json:"cannot"` // not among All: refused, or not in the cluster of the tests
}

func (c Conformance) String() string {
	return fmt.Sprintf("%s  documents and search %4d of %4d %5.1f %%   all %4d of %4d %5.1f %%   cannot %d", c.Pair,
		c.DocumentsPassed, c.Documents, percent(c.DocumentsPassed, c.Documents), c.AllPassed, c.All, percent(c.AllPassed, c.All), c.Cannot)
}

func percent(a, b int) float64 { return 100 * float64(a) / float64(max(b, 1)) }

// WriteDifferences writes differences.md.
func WriteDifferences(w io.Writer) error {
	if err := translate.WriteDifferences(w); err != nil {
		return err
	}
	var pairs []Conformance
	if err := json.Unmarshal(conformance, &pairs); err != nil {
		return fmt.Errorf("conformance.json: %w", err)
	}
	_, err := fmt.Fprint(w, `
## How Elasticsearch's own tests do

Elasticsearch tests its REST API by files of requests and expectations. Here those of one major are sent through the gateway to a cluster of
another; counted are the tests that pass on a cluster of their own major, without those that the other cluster cannot pass: what is refused
above, and modules that the 8.x of the tests lacks. Lists with a reason for each test that does not pass are in `+"`tests/conformance/expected`"+`;
`+"`make conformance`"+` runs all and writes these figures. The tests of 8 are those of 7.10 without types; for those
of 5 the gateway has the setting `+"`types merge`"+`, as their indices hold several types.

| tests of | on | documents and search | all | not counted |
|---|---|---|---|---|
`)
	for _, c := range pairs {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %c | %c | %d of %d, %.1f %% | %d of %d, %.1f %% | %d |\n", c.Pair[0], c.Pair[len(c.Pair)-1],
				c.DocumentsPassed, c.Documents, percent(c.DocumentsPassed, c.Documents), c.AllPassed, c.All, percent(c.AllPassed, c.All), c.Cannot)
		}
	}
	return err
}
