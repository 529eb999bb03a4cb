package catalogue

import (
	"context"
	"regexp"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Scripts inside of requests and stored ones.

// goneLanguages are the languages of 5.x that 6.0 removed.
var goneLanguages = []string{"groovy", "javascript", "js", "python", "native"}

func init() {
	translate.Register(
		&Change{
			// 6, 7 and 8 still read inline and stored.
			ID: "SCRIPT-01", Name: "InlineBecameSource", Since: V(5, 6), Removed: V(6, 0),
			Doc:       `A script's text stands under "source" and the name of a stored one under "id"; they were "inline" and "stored".`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Script, scriptKeys("inline", "source", "stored", "id"))}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Script, scriptKeys("source", "inline", "id", "stored"))}},
		},
		&Change{
			ID: "SCRIPT-01", Name: "FileScriptsWereRemoved", Since: V(6, 0),
			Doc:       "Scripts cannot be read from files of the nodes; they are stored through the API.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "scripts in files", Request: []Rule{refuseKeys(translate.Script, "file")}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCRIPT-02", Name: "LanguagesWereRemoved", Since: V(6, 0),
			Doc: "The languages groovy, javascript, python and native are gone; painless, expression and mustache remain.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "scripts in other languages cannot be translated", Request: []Rule{
				at(translate.Script, func(x *Exchange, n *Node) error { return refuseLanguage(x, n.Get("lang").String()) }),
				onAPIs(translate.RequestHead, []string{"put_script"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "put_script" {
						return refuseLanguage(x, x.Asked.Lang)
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCRIPT-03", Name: "StoredScriptsLostTheirLanguageInThePath", Since: V(6, 0),
			Doc: `A stored script has its language in the body, {"script": {"lang": "painless", "source": …}}, not in the path.`,
			OldClient: Direction{Fidelity: translate.Exact, Loses: "scripts of one name in two languages, which are one",
				Request: []Rule{onAPIs(translate.RequestHead, []string{"put_script", "get_script", "delete_script"}, storedScriptPath)}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCRIPT-03", Name: "StoredScriptsLostCode", Since: V(5, 6), Removed: V(6, 0),
			Doc:       `The text of a stored script stands under "source"; it was "code".`,
			OldClient: withoutRules, // storedScriptPath does it
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.StoredScriptBody, func(_ *Exchange, n *Node) error {
				edit(n, "script", func(s *Node) { s.Rename("source", "code") })
				return nil
			})}},
		},
		&Change{
			ID: "SCRIPT-06", Name: "StoredScriptsTakeNoLanguage", Since: V(6, 0),
			Doc: "A request that names a stored script does not say its language.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Script, func(_ *Exchange, n *Node) error {
				if n.Has("id") || n.Has("stored") {
					n.Drop("lang")
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SCRIPT-07", Name: "DatesInScriptsBecameObjects", Since: V(6, 0),
			Doc:       "doc['d'].value of a date is an object; it was milliseconds in 5.x, and is of another class in 6.x, 7.x and 8.x.",
			OldClient: Direction{Fidelity: translate.Refused, Loses: "scripts that compute with dates: they are sent as they are"},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "dates as a whole, and members of dates that 5.x does not have: such scripts are sent as they are",
				Request: []Rule{at(translate.Script, datesInScript)}},
		},
		&Change{
			ID: "SCRIPT-08", Name: "MissingValuesBecameErrors", Since: V(7, 0),
			Doc:       "doc['f'].value of a document without the field is an error; it was 0 or null.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "scripts that do not ask for doc['f'].size() first: the cluster's error is shown"},
			NewClient: nothing,
		},
		&Change{
			ID: "SCRIPT-12", Name: "VectorFunctionsTakeNames", Since: V(7, 6), Removed: V(8, 0),
			Doc: "Vector functions in scripts take the field's name, cosineSimilarity(q, 'v'); they took doc['v'].",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Script, func(_ *Exchange, n *Node) error {
				editSource(n, func(text string) string { return vectorOfDoc.ReplaceAllString(text, "$1$2$3)") })
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Script, func(_ *Exchange, n *Node) error {
				editSource(n, func(text string) string { return vectorOfName.ReplaceAllString(text, "$1${2}doc[$3])") })
				return nil
			})}},
		},
		&Change{
			ID: "SCRIPT-16", Name: "ScriptContextsAppeared", Since: V(6, 0),
			Doc:       "A script can be stored for a context, PUT /_scripts/name/score, and is compiled for it.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "errors of the script show up when it is used", Request: []Rule{
				onAPIs(translate.RequestHead, []string{"put_script"}, func(x *Exchange, _ *Node) error {
					if x.Asked.API == "put_script" {
						if x.Endpoint.Context != "" {
							x.Endpoint.Context = ""
							x.Edited()
						}
						x.Params.Drop("context")
					}
					return nil
				})}},
		},
	)
}

func scriptKeys(pairs ...string) func(*Exchange, *Node) error {
	return func(_ *Exchange, n *Node) error {
		for i := 0; i < len(pairs); i += 2 {
			n.Rename(pairs[i], pairs[i+1])
		}
		return nil
	}
}

func refuseLanguage(x *Exchange, lang string) error {
	if slices.Contains(goneLanguages, lang) {
		return x.Refuse("scripts in the language %s", lang)
	}
	return nil
}

// storedScriptPath takes the language out of the path of a stored script and
// writes the body of 6.x; the answer of a GET gets the form of 5.x.
func storedScriptPath(x *Exchange, _ *Node) error {
	lang := x.Asked.Lang
	switch x.Asked.API {
	case "put_script", "get_script", "delete_script":
	default:
		return nil
	}
	if lang != "" {
		x.Endpoint.Lang = ""
		x.Edited()
	}
	if x.Asked.API == "put_script" {
		if body := storedScriptBody(x.RequestBody, lang); body != "" && body != string(x.RequestBody) {
			x.RequestBody = []byte(body)
			x.Edited()
		}
	}
	if x.Asked.API == "get_script" && lang != "" {
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			a, body, err := sendWhole(ctx, r, next)
			if err != nil {
				return nil, err
			}
			answer := gjson.ParseBytes(body)
			script := answer.Get("script")
			if !script.Exists() {
				return withBody(a, []byte(`{"_id":`+translate.Quote(x.Asked.ID)+`,"found":false,"lang":`+translate.Quote(lang)+`}`)), nil
			}
			text := script.Get("source")
			if !text.Exists() {
				text = script.Get("code")
			}
			return withBody(a, []byte(`{"_id":`+answer.Get("_id").Raw+`,"lang":`+script.Get("lang").Raw+`,"found":true,"script":`+text.Raw+`}`)), nil
		})
	}
	return nil
}

// storedScriptBody writes the body of a stored script as 6.x reads it; lang is
// the language in the path. It gives "" for what it does not know.
func storedScriptBody(body []byte, lang string) string {
	b := gjson.ParseBytes(body)
	script := b.Get("script")
	switch {
	case b.Get("template").Exists():
		return `{"script":{"lang":"mustache","source":` + b.Get("template").Raw + `}}`
	case script.IsObject() && (script.Get("source").Exists() || script.Get("code").Exists() || script.Get("inline").Exists()):
		inner := translate.NewNode(script.Raw)
		inner.Rename("code", "source")
		inner.Rename("inline", "source")
		if !inner.Has("lang") {
			inner.SetString("lang", orElse(lang, "painless"))
		}
		return `{"script":` + inner.Raw() + `}`
	case script.Exists(): // the text, or a search as an object, with the language in the path
		return `{"script":{"lang":` + translate.Quote(orElse(lang, "painless")) + `,"source":` + script.Raw + `}}`
	case b.Get("source").Exists() && b.Get("lang").Exists():
		return `{"script":` + b.Raw + `}`
	case b.IsObject() && lang == "mustache": // a search as it is
		return `{"script":{"lang":"mustache","source":` + b.Raw + `}}`
	}
	return ""
}

// editSource changes a script's text.
func editSource(n *Node, do func(string) string) {
	if n.IsString() {
		if text := n.String(); do(text) != text {
			n.Replace(translate.Quote(do(text)))
		}
		return
	}
	for _, key := range []string{"source", "inline"} {
		if v := n.Get(key); v.Type == gjson.String && do(v.String()) != v.String() {
			n.SetString(key, do(v.String()))
		}
	}
}

const vectorFunctions = `\b((?:cosineSimilarity|dotProduct|l1norm|l2norm|cosineSimilaritySparse|dotProductSparse|l1normSparse|l2normSparse)\()`

var (
	vectorOfDoc  = regexp.MustCompile(vectorFunctions + `([^,()]+,\s*)doc\[\s*('[^']*'|"[^"]*")\s*\]\s*\)`)
	vectorOfName = regexp.MustCompile(vectorFunctions + `([^,()]+,\s*)('[^']*'|"[^"]*")\s*\)`)
)
