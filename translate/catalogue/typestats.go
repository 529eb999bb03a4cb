package catalogue

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// How much was indexed of each type, which statistics told as long as an index
// could hold several.

func init() {
	const lost = "the numbers of an index that several types share (types merge)"
	translate.Register(
		&Change{
			ID: "OPS-10", Name: "StatisticsOfTypesWereRemoved", Since: V(7, 0),
			Doc:       "_stats?types=book, which counts what was indexed of each type, is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: lost, Request: []Rule{onAPIs(translate.RequestHead, []string{"indices.stats"}, countTypes)}},
			NewClient: nothing,
		},
		&Change{
			ID: "OPS-10", Name: "StatisticsOfTypesWereRemovedFrom8", Since: V(8, 0),
			Doc:       "_stats?types=book, which 7.x still took, is gone.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: lost, Request: []Rule{from7(onAPIs(translate.RequestHead, []string{"indices.stats"}, countTypes))}},
			NewClient: nothing,
		},
	)
}

// countTypes adds the numbers of the types that a client asks for.
func countTypes(x *Exchange, _ *Node) error {
	types := x.Params.Get("types")
	if x.Asked.API != "indices.stats" || types == "" || x.Facts == nil {
		return nil
	}
	x.Params.Drop("types")
	level := x.Params.Get("level")
	if level == "cluster" {
		x.Params.Drop("level")
	}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		return statsOfTypes(ctx, x, strings.Split(types, ","), level == "cluster", r, next)
	})
	return nil
}

// statsOfTypes adds the numbers of types to statistics: those of an index are
// those of its type.
func statsOfTypes(ctx context.Context, x *Exchange, types []string, withoutIndices bool, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
	a, body, err := sendWhole(ctx, r, next)
	if err != nil || a.Status >= 300 {
		return a, err
	}
	answer := translate.NewNode(string(body))
	if !answer.Get("_all").IsObject() || !answer.Get("indices").IsObject() {
		return a, nil
	}
	all := translate.NewNode(answer.Get("_all").Raw)
	sums := map[string]*object{"primaries": {}, "total": {}}
	indices := translate.NewNode(answer.Get("indices").Raw)
	for _, name := range indices.Keys() {
		f, ok, err := x.Facts.Index(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("the types of %s for its statistics: %w", name, err)
		}
		if !ok || f.Type == "" || len(f.Further) > 0 || !matchesAny(types, f.Type) && !matchesAny(types, "_all") {
			continue
		}
		text := indices.Get(name).Raw
		for part, sum := range sums {
			indexing := gjson.Get(text, part+".indexing")
			if !indexing.IsObject() {
				continue
			}
			if text, err = sjson.SetRaw(text, part+".indexing.types", `{`+translate.Quote(f.Type)+`:`+indexing.Raw+`}`); err != nil {
				return nil, fmt.Errorf("statistics of %s: %w", name, err)
			}
			sum.set(f.Type, addNumbers(gjson.Parse(sum.values[f.Type]), indexing))
		}
		indices.Set(name, text)
	}
	for part, sum := range sums {
		if sum.len() == 0 {
			continue
		}
		edit(all, part, func(n *Node) {
			edit(n, "indexing", func(n *Node) { n.Set("types", sum.String()) })
		})
	}
	answer.Set("_all", all.Raw())
	if withoutIndices {
		answer.Drop("indices")
	} else if indices.Changed() {
		answer.Set("indices", indices.Raw())
	}
	return withBody(a, []byte(answer.Raw())), nil
}

// addNumbers adds up the numbers of two objects; what is true in one of them is
// true.
func addNumbers(sum, more gjson.Result) string {
	var o object
	o.addAll(more)
	sum.ForEach(func(key, v gjson.Result) bool {
		switch other := member(more, key.String()); {
		case v.Type == gjson.Number && !strings.Contains(v.Raw, "."):
			o.set(key.String(), strconv.FormatInt(v.Int()+other.Int(), 10))
		case v.IsBool():
			o.set(key.String(), strconv.FormatBool(v.Bool() || other.Bool()))
		}
		return true
	})
	return o.String()
}
