package catalogue

import (
	"context"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Suggesters.

func init() {
	translate.Register(
		&Change{
			ID: "SUG-01", Name: "SuggestEndpointWasRemoved", Since: V(6, 0),
			Doc:       "POST /books/_suggest is gone; a search with suggest answers the same under that key.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestHead, []string{"suggest"}, suggestBySearch)}},
			NewClient: nothing,
		},
		&Change{
			ID: "SUG-02", Name: "StringDistancesWereSpeltRight", Since: V(6, 2), Removed: V(7, 0),
			Doc:       "The string distances levenstein and jarowinkler are written levenshtein and jaro_winkler.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Suggester, stringDistance(map[string]string{"levenstein": "levenshtein", "jarowinkler": "jaro_winkler"}))}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Suggester, stringDistance(map[string]string{"levenshtein": "levenstein", "jaro_winkler": "jarowinkler"}))}},
		},
		&Change{
			ID: "SUG-03", Name: "SkipDuplicatesAppeared", Since: V(6, 1),
			Doc:       "The completion suggester can leave out duplicates.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "options that come behind many duplicates",
				Request: []Rule{at(translate.Suggester, askForDuplicates)}, Response: []Rule{at(translate.SuggestEntry, skipDuplicates)}},
		},
		&Change{
			ID: "SUG-04", Name: "CompletionNeedsAContext", Since: V(7, 0),
			Doc:       "A completion field that has contexts is asked with a context.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "completions without a context: the cluster's error is shown"},
			NewClient: nothing,
		},
		&Change{
			ID: "SUG-05", Name: "CollateQueryBecameSource", Since: V(5, 6), Removed: V(6, 0),
			Doc:       `The query that checks phrases stands under "source"; it was "inline".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Suggester, collateKey("inline", "source"))}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Suggester, collateKey("source", "inline"))}},
		},
	)
}

// suggestBySearch sends a _suggest as a search and lifts up what it suggests.
func suggestBySearch(x *Exchange, _ *Node) error {
	if x.Asked.API != "suggest" {
		return nil
	}
	x.Endpoint.API, x.Endpoint.Type, x.Endpoint.Method = "search", "", "POST"
	body := x.RequestBody
	if len(body) == 0 && x.Params.Has("source") {
		body = []byte(x.Params.Get("source"))
		x.Params.Drop("source")
		x.Params.Drop("source_content_type")
		x.Header.Set("Content-Type", "application/json")
	}
	if len(body) == 0 {
		return nil // the cluster says what is missing
	}
	x.RequestBody = []byte(`{"size":0,"suggest":` + strings.TrimSpace(string(body)) + `}`)
	x.Edited()
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		a, body, err := sendWhole(ctx, r, next)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		answer := gjson.ParseBytes(body)
		lifted := translate.NewNode("{}")
		if shards := answer.Get("_shards"); shards.Exists() {
			lifted.Set("_shards", shards.Raw)
		}
		answer.Get("suggest").ForEach(func(name, entries gjson.Result) bool {
			lifted.Set(name.String(), entries.Raw)
			return true
		})
		return withBody(a, []byte(lifted.Raw())), nil
	})
	return nil
}

const (
	duplicatesNote = "duplicates are left out of the suggestions "

	defaultSuggestions = 5
	// duplicatesAsked times as many options are asked for if duplicates are to be
	// left out, but not more than maxSuggestions for this.
	duplicatesAsked = 10
	maxSuggestions  = 1000
)

// askForDuplicates asks for more options than are wanted: the duplicates are
// taken out of the answer.
func askForDuplicates(x *Exchange, n *Node) error {
	edit(n, "completion", func(c *Node) {
		skip := isTrue(c.Get("skip_duplicates"))
		c.Drop("skip_duplicates")
		if !skip {
			return
		}
		size := defaultSuggestions
		if v := c.Get("size"); v.Exists() {
			size = int(v.Int())
		}
		x.Note(duplicatesNote+n.Name(), size)
		c.Set("size", itoa(max(size, min(size*duplicatesAsked, maxSuggestions))))
	})
	return nil
}

func skipDuplicates(x *Exchange, n *Node) error {
	_, name, typed := strings.Cut(n.Name(), "#")
	if !typed {
		name = n.Name()
	}
	size, ok := x.Noted(duplicatesNote + name).(int)
	options := n.Get("options")
	if !ok || !options.IsArray() {
		return nil
	}
	seen := map[string]bool{}
	var kept []string
	for _, o := range options.Array() {
		if text := o.Get("text").String(); !seen[text] && len(kept) < size {
			seen[text] = true
			kept = append(kept, o.Raw)
		}
	}
	n.Set("options", "["+strings.Join(kept, ",")+"]")
	return nil
}

func stringDistance(names map[string]string) func(*Exchange, *Node) error {
	rename := func(n *Node) {
		if to, ok := names[n.Get("string_distance").String()]; ok {
			n.SetString("string_distance", to)
		}
	}
	return func(_ *Exchange, n *Node) error {
		edit(n, "term", rename)
		edit(n, "phrase", func(phrase *Node) { editEach(phrase, "direct_generator", rename) })
		return nil
	}
}

func collateKey(from, to string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		edit(n, "phrase", func(phrase *Node) {
			edit(phrase, "collate", func(collate *Node) {
				edit(collate, "query", func(query *Node) { query.Rename(from, to) })
			})
		})
		return nil
	}
}
