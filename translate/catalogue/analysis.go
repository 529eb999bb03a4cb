package catalogue

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Analyzers and their parts, in the settings of indices and in _analyze.

func init() {
	translate.Register(
		&Change{
			ID: "ANA-01", Name: "StandardTokenFilterWasRemoved", Since: V(7, 0),
			Doc: "The token filter standard, which did nothing, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.Analysis, func(x *Exchange, n *Node) error {
					defined := definitions(x, n)
					filters := n.Get("filter")
					if !filters.IsObject() {
						return nil
					}
					gone := []string{"standard"}
					var o object
					filters.ForEach(func(name, f gjson.Result) bool {
						if member(f, "type").String() == "standard" {
							gone = append(gone, name.String())
							delete(defined, name.String())
						} else {
							o.set(name.String(), f.Raw)
						}
						return true
					})
					if len(gone) > 1 {
						n.Set("filter", o.String())
					}
					x.Note(goneFiltersNote, gone)
					return nil
				}),
				at(translate.Analyzer, dropStandardFilter),
				at(translate.AnalyzeBody, dropStandardFilter),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-02", Name: "DelimitedPayloadLostItsSuffix", Since: V(6, 2), Removed: V(7, 0),
			Doc:       "The token filter delimited_payload_filter is called delimited_payload.",
			OldClient: Direction{Fidelity: translate.Exact, Request: renameParts("filter", map[string]string{"delimited_payload_filter": "delimited_payload"})},
			NewClient: Direction{Fidelity: translate.Exact, Request: renameParts("filter", map[string]string{"delimited_payload": "delimited_payload_filter"})},
		},
		&Change{
			ID: "ANA-03", Name: "NGramsAreWrittenInSnakeCase", Since: V(7, 0),
			Doc: "The token filters and tokenizers nGram and edgeNGram are called ngram and edge_ngram.",
			OldClient: Direction{Fidelity: translate.Exact, Request: slices.Concat(
				renameParts("filter", map[string]string{"nGram": "ngram", "edgeNGram": "edge_ngram"}),
				renameParts("tokenizer", map[string]string{"nGram": "ngram", "edgeNGram": "edge_ngram"}))},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-03", Name: "NGramTokenizersInCamelCaseWereRemoved", Since: V(8, 0),
			Doc: "The tokenizers nGram and edgeNGram, which 7.x still takes, are gone.",
			OldClient: Direction{Fidelity: translate.Exact, Request: slices.Concat(
				renameParts("filter", map[string]string{"nGram": "ngram", "edgeNGram": "edge_ngram"}),
				renameParts("tokenizer", map[string]string{"nGram": "ngram", "edgeNGram": "edge_ngram"}))},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-04", Name: "HTMLStripIsWrittenInSnakeCase", Since: V(7, 0),
			Doc:       "The char filter htmlStrip is called html_strip.",
			OldClient: Direction{Fidelity: translate.Exact, Request: renameParts("char_filter", map[string]string{"htmlStrip": "html_strip"})},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-05", Name: "PathHierarchyIsWrittenInSnakeCase", Since: V(7, 0),
			Doc:       "The tokenizer PathHierarchy is called path_hierarchy.",
			OldClient: Direction{Fidelity: translate.Exact, Request: renameParts("tokenizer", map[string]string{"PathHierarchy": "path_hierarchy"})},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-06", Name: "StandardHTMLStripAnalyzerWasRemoved", Since: V(7, 0),
			Doc: "The analyzer standard_html_strip is gone; a custom one with html_strip does the same.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Analyzer, func(_ *Exchange, n *Node) error {
				if n.Get("type").String() == "standard_html_strip" {
					n.Replace(`{"type":"custom","char_filter":["html_strip"],"tokenizer":"standard","filter":["lowercase"]}`)
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-07", Name: "NGramDifferenceWasLimited", Since: V(7, 0),
			Doc: "max_gram may be larger than min_gram by one, unless index.max_ngram_diff allows more.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Settings, func(x *Exchange, n *Node) error {
				return allowDifference(n, "max_ngram_diff", 1, []string{"tokenizer", "filter"}, []string{"ngram", "nGram"}, "min_gram", "max_gram", 1, 2)
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-08", Name: "ShingleDifferenceWasLimited", Since: V(7, 0),
			Doc: "max_shingle_size may be larger than min_shingle_size by three, unless index.max_shingle_diff allows more.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Settings, func(x *Exchange, n *Node) error {
				// The limit counts the sizes between, one more when single words go out, too.
				return allowDifference(n, "max_shingle_diff", 3, []string{"filter"}, []string{"shingle"}, "min_shingle_size", "max_shingle_size", 2, 2)
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-09", Name: "SynonymsAreReadWithTheFiltersBefore", Since: V(6, 0),
			Doc: "The rules of a synonym filter are read with the filters in front of it; tokenizer and ignore_case count no more.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "tokenizer and ignore_case: put lowercase in front of the synonyms", Request: []Rule{
				at(translate.TokenFilter, func(_ *Exchange, n *Node) error {
					if t := n.Get("type").String(); t == "synonym" || t == "synonym_graph" {
						n.Drop("ignore_case")
						n.Drop("tokenizer")
					}
					return nil
				})}},
			NewClient: nothing,
		},
		&Change{
			ID: "ANA-09", Name: "SynonymFiltersCanBeLenient", Since: V(6, 4),
			Doc:       "A synonym filter can skip rules that it cannot read (lenient) and, from 7.3 on, be read again (updateable).",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "lenient and updateable", Request: []Rule{
				at(translate.TokenFilter, func(_ *Exchange, n *Node) error {
					if t := n.Get("type").String(); t == "synonym" || t == "synonym_graph" {
						n.Drop("lenient")
						n.Drop("updateable")
					}
					return nil
				})}},
		},
		&Change{
			ID: "ANA-11", Name: "RemoveDuplicatesAppeared", Since: V(6, 4),
			Doc:       "The token filter remove_duplicates drops equal tokens at one position, as unique with only_on_same_position does.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				at(translate.TokenFilter, func(_ *Exchange, n *Node) error {
					if n.Get("type").String() == "remove_duplicates" {
						n.Replace(`{"type":"unique","only_on_same_position":true}`)
					}
					return nil
				}),
				at(translate.Analysis, func(_ *Exchange, n *Node) error {
					// By its bare name in an analyzer it needs a definition.
					if strings.Contains(n.Get("analyzer").Raw, `"remove_duplicates"`) && !member(n.Get("filter"), "remove_duplicates").Exists() {
						var o object
						o.addAll(n.Get("filter"))
						o.set("remove_duplicates", `{"type":"unique","only_on_same_position":true}`)
						n.Set("filter", o.String())
					}
					return nil
				}),
			}},
		},
		&Change{
			ID: "ANA-13", Name: "AnalyzeLostItsParameters", Since: V(6, 0),
			Doc:       "_analyze takes text, analyzer, tokenizer, filters and field in its body alone, not in the URL, and no plain text as body.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{onAPIs(translate.RequestEnd, []string{"indices.analyze"}, analyzeInBody)}},
			NewClient: nothing,
		},
	)
}

const (
	definedNote     = "the parts that an analysis defines"
	goneFiltersNote = "the token filters that are gone"
)

// definitions notes the names that an analysis section defines itself, "filter
// standard" and the like: they win over the built-in ones.
func definitions(x *Exchange, n *Node) map[string]bool {
	defined := map[string]bool{}
	for _, kind := range []string{"tokenizer", "filter", "char_filter"} {
		if o := n.Get(kind); o.IsObject() {
			o.ForEach(func(name, _ gjson.Result) bool {
				defined[kind+" "+name.String()] = true
				return true
			})
		}
	}
	x.Note(definedNote, defined)
	return defined
}

func isDefined(x *Exchange, kind, name string) bool {
	defined, _ := x.Noted(definedNote).(map[string]bool)
	return defined[kind+" "+name]
}

var partPlaces = map[string]Place{"tokenizer": translate.Tokenizer, "filter": translate.TokenFilter, "char_filter": translate.CharFilter}

// renameParts makes the rules that give built-in parts of analyzers other names.
func renameParts(kind string, names map[string]string) []Rule {
	inList := func(x *Exchange, n *Node) error {
		changeNames(n, kind, func(name string) (string, bool) {
			if to, ok := names[name]; ok && !isDefined(x, kind, name) {
				return to, true
			}
			return name, true
		})
		return nil
	}
	return []Rule{
		at(translate.Analysis, func(x *Exchange, n *Node) error {
			definitions(x, n)
			return nil
		}),
		at(translate.Analyzer, inList),
		at(translate.Normalizer, inList),
		at(partPlaces[kind], func(_ *Exchange, n *Node) error {
			if n.IsString() { // in _analyze
				if to, ok := names[n.String()]; ok {
					n.Replace(translate.Quote(to))
				}
			} else if to, ok := names[n.Get("type").String()]; ok {
				n.SetString("type", to)
			}
			return nil
		}),
	}
}

// changeNames changes the names that a member holds, one, a list, or one text
// with commas; what is no text stays.
func changeNames(n *Node, key string, change func(name string) (to string, keep bool)) {
	v := n.Get(key)
	var names []gjson.Result
	switch {
	case v.IsArray():
		names = v.Array()
	case v.Type == gjson.String && key != "tokenizer" && strings.Contains(v.String(), ","):
		for _, s := range strings.Split(v.String(), ",") {
			names = append(names, gjson.Parse(translate.Quote(strings.TrimSpace(s))))
		}
	case v.Type == gjson.String:
		if to, keep := change(v.String()); !keep {
			n.Drop(key)
		} else if to != v.String() {
			n.SetString(key, to)
		}
		return
	default:
		return
	}
	var list []string
	changed := false
	for _, name := range names {
		if name.Type != gjson.String {
			list = append(list, name.Raw)
			continue
		}
		to, keep := change(name.String())
		changed = changed || !keep || to != name.String()
		if keep {
			list = append(list, translate.Quote(to))
		}
	}
	if changed {
		n.Set(key, "["+strings.Join(list, ",")+"]")
	}
}

func dropStandardFilter(x *Exchange, n *Node) error {
	gone, ok := x.Noted(goneFiltersNote).([]string)
	if !ok {
		gone = []string{"standard"}
	}
	for _, key := range []string{"filter", "filters", "token_filters"} {
		changeNames(n, key, func(name string) (string, bool) {
			return name, !slices.Contains(gone, name) || isDefined(x, "filter", name)
		})
	}
	return nil
}

// allowDifference adds the setting that lets the parts of an analysis be as far
// apart as they are.
func allowDifference(n *Node, name string, limit int64, kinds, types []string, low, high string, defaultLow, defaultHigh int64) error {
	analysis := n.Get("analysis")
	if !analysis.IsObject() {
		if analysis = n.Get("index.analysis"); !analysis.IsObject() {
			return nil
		}
	}
	need := limit
	for _, kind := range kinds {
		member(analysis, kind).ForEach(func(_, part gjson.Result) bool {
			if !slices.Contains(types, member(part, "type").String()) {
				return true
			}
			from, to := defaultLow, defaultHigh
			if v := member(part, low); v.Exists() {
				from = v.Int()
			}
			if v := member(part, high); v.Exists() {
				to = v.Int()
			}
			diff := to - from
			if name == "max_shingle_diff" {
				diff++
				if u := member(part, "output_unigrams"); u.Exists() && !isTrue(u) {
					diff--
				}
			}
			need = max(need, diff)
			return true
		})
	}
	if need > limit && !n.Has(name) && !n.Has("index."+name) && !n.Get("index").Get(name).Exists() {
		if n.Name() != "index" {
			name = "index." + name
		}
		n.Set(name, itoa(int(need)))
	}
	return nil
}

// analyzeParams are the parameters that _analyze took in its URL, with the
// members of the body that they stand for.
var analyzeParams = []struct {
	param, member string
	list          bool
}{
	{"text", "text", true}, {"analyzer", "analyzer", false}, {"tokenizer", "tokenizer", false}, {"field", "field", false},
	{"filter", "filter", true}, {"filters", "filter", true}, {"token_filters", "filter", true},
	{"char_filter", "char_filter", true}, {"char_filters", "char_filter", true},
	{"explain", "explain", false}, {"attributes", "attributes", true},
}

func analyzeInBody(x *Exchange, _ *Node) error {
	if x.Asked.API != "indices.analyze" {
		return nil
	}
	var o object
	body := strings.TrimSpace(string(x.RequestBody))
	plain := body != "" && body[0] != '{'
	if plain {
		o.set("text", translate.Quote(body))
	} else if body != "" {
		o.addAll(gjson.Parse(body))
	}
	for _, old := range []string{"filters", "token_filters", "char_filters"} {
		if o.has(old) {
			o.set(strings.TrimPrefix(strings.TrimSuffix(old, "s"), "token_"), o.values[old])
			o.drop(old)
			plain = true
		}
	}
	moved := false
	for _, p := range analyzeParams {
		if !x.Params.Has(p.param) {
			continue
		}
		value := x.Params.Get(p.param)
		switch {
		case o.has(p.member):
		case p.param == "explain":
			o.set("explain", jsonBool(value == "" || isTrue(gjson.Parse(translate.Quote(value)))))
		case p.param == "text":
			o.set("text", translate.Quote(value))
		case p.list:
			var names []string
			for _, s := range strings.Split(value, ",") {
				names = append(names, translate.Quote(s))
			}
			o.set(p.member, "["+strings.Join(names, ",")+"]")
		default:
			o.set(p.member, translate.Quote(value))
		}
		x.Params.Drop(p.param)
		moved = true
	}
	x.Params.Drop("prefer_local")
	if moved || plain {
		x.RequestBody = []byte(o.String())
		x.Header.Set("Content-Type", "application/json")
		x.Edited()
	}
	return nil
}
