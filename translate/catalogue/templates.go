package catalogue

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Index templates and aliases.

func init() {
	translate.Register(
		&Change{
			ID: "TMP-01", Name: "TemplateBecameIndexPatterns", Since: V(6, 0),
			Doc: `A template names the indices that it is for in a list, {"index_patterns": ["logs-*"]}, not in a text, {"template": "logs-*"}.`,
			OldClient: Direction{Fidelity: translate.Exact,
				Request:  []Rule{at(translate.TemplateBody, templateToPatterns)},
				Response: []Rule{at(translate.TemplateState, patternsToTemplate)}},
			NewClient: Direction{Fidelity: translate.Exact,
				Request: []Rule{at(translate.TemplateBody, splitPatterns), at(translate.RequestHead, allParts)},
				Response: []Rule{at(translate.TemplatesState, joinParts), at(translate.TemplateState, func(_ *Exchange, n *Node) error {
					if t := n.Get("template"); t.Type == gjson.String {
						n.Set("template", "["+t.Raw+"]")
						n.Rename("template", "index_patterns")
					}
					return nil
				})}},
		},
		&Change{
			ID: "TMP-01", Name: "TemplateKeyWasRemoved", Since: V(8, 0),
			Doc:       `"template" with the pattern of a template, which 6.x and 7.x still take, is refused.`,
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.TemplateBody, templateToPatterns)}},
			NewClient: nothing,
		},
		&Change{
			ID: "TMP-03", Name: "TemplatesShowTypelessMappings", Since: V(7, 0),
			Doc:       "The mappings of a template have no type name around them.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.TemplateState, wrapTemplate)}},
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.TemplateState, unwrapTemplate)}},
		},
		&Change{
			ID: "TMP-03", Name: "TemplatesCanShowTypelessMappings", Since: V(6, 7), Removed: V(7, 0),
			Doc:       "include_type_name=false shows a template's mappings without a type name.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Response: []Rule{at(translate.TemplateState, only6(unwrapTemplate))}},
		},
		&Change{
			ID: "TMP-03", Name: "TypedTemplatesWereRemoved", Since: V(8, 0),
			Doc:       "include_type_name, with which 7.x shows a template's mappings under a type name, is gone.",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{from7(at(translate.TemplateState, wrapTemplate))}},
			NewClient: nothing,
		},
		&Change{
			ID: "TMP-05", Name: "ComposableTemplatesAppeared", Since: V(7, 8),
			Doc:       "_index_template and _component_template: templates that are put together of parts, of which one wins by its priority. One is kept as a _template, put together from its parts.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "data streams, which are refused; all templates that match an index apply, in the order of their priority; _simulate_index knows composable templates only, and no body",
				Request: []Rule{at(translate.RequestHead, composeTemplates)},
				Response: []Rule{
					at(translate.AnswerHead, missingIndexTemplate),
					at(translate.TemplatesState, showKept),
					at(translate.TemplatesState, showIndexTemplates),
				}},
		},
		&Change{
			ID: "ALI-01", Name: "WriteIndicesAppeared", Since: V(6, 4),
			Doc:       "An alias of several indices can say which of them takes writes (is_write_index).",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Alias, "is_write_index")}},
			NewClient: Direction{Fidelity: translate.Refused, Loses: "a write index among several indices of an alias; of one index the alias takes writes anyhow",
				Request: []Rule{at(translate.Alias, noWriteIndex)}},
		},
		&Change{
			ID: "ALI-01", Name: "AliasesLostTheirNulls", Since: V(8, 0),
			Doc: "An alias of a new index or a template has no members that are null, such as is_write_index; they meant nothing.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.Alias, func(x *Exchange, n *Node) error {
				if x.Asked.API != "indices.update_aliases" { // which never took them
					n.DropIf(func(key string) bool { return n.Get(key).Raw == "null" })
				}
				return nil
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "ALI-01", Name: "HiddenAliasesAppeared", Since: V(7, 7),
			Doc:       "An alias can be hidden from patterns (is_hidden).",
			OldClient: Direction{Fidelity: translate.Exact, Response: []Rule{drop(translate.Alias, "is_hidden")}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "the alias is not hidden", Request: []Rule{drop(translate.Alias, "is_hidden")}},
		},
		&Change{
			ID: "ALI-01", Name: "RemovedAliasesMustExist", Since: V(7, 11),
			Doc:       "The removal of an alias can say that it must exist (must_exist).",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{drop(translate.Alias, "must_exist")}},
		},
	)
}

func templateToPatterns(_ *Exchange, n *Node) error {
	t := n.Get("template")
	switch {
	case t.Type != gjson.String || n.Has("index_patterns"):
		return nil
	}
	n.Set("template", "["+t.Raw+"]")
	n.Rename("template", "index_patterns")
	return nil
}

func patternsToTemplate(_ *Exchange, n *Node) error {
	p := n.Get("index_patterns")
	if !p.Exists() {
		return nil
	}
	var names []string
	for _, s := range p.Array() {
		names = append(names, s.String())
	}
	n.SetString("index_patterns", strings.Join(names, ","))
	n.Rename("index_patterns", "template")
	return nil
}

// A template with several patterns is several templates on 5.x, which have one
// pattern each. The second has the first one's name with partMark and a 2.
const partMark = "__esperanto_"

var partName = regexp.MustCompile(`^(.*)` + partMark + `\d+$`)

// splitPatterns makes one template for each pattern.
func splitPatterns(x *Exchange, n *Node) error {
	p := n.Get("index_patterns")
	if !p.Exists() {
		return nil
	}
	var patterns []string
	for _, s := range p.Array() {
		patterns = append(patterns, s.String())
	}
	if len(patterns) == 0 {
		return nil
	}
	n.SetString("index_patterns", patterns[0])
	n.Rename("index_patterns", "template")
	name := x.Asked.Name
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		if err := deleteParts(ctx, x, name, next); err != nil {
			return nil, err
		}
		for i, pattern := range patterns[1:] {
			body, err := sjson.SetBytes(r.Body, "template", pattern)
			if err != nil {
				return nil, err
			}
			e := x.Endpoint
			e.Name = name + partMark + itoa(i+2)
			part := *r
			part.Body = body
			part.Path, _ = e.PathFor(x.Cluster)
			a, err := next.Send(ctx, &part)
			if err != nil || a.Status >= 300 {
				return a, err
			}
			_ = a.Body.Close()
		}
		return next.Send(ctx, r)
	})
	return nil
}

// deleteParts deletes all parts of a template but the first.
func deleteParts(ctx context.Context, x *Exchange, name string, next esapi.Sender) error {
	e := esapi.Endpoint{API: "indices.delete_template", Method: http.MethodDelete, Name: name + partMark + "*"}
	path, _ := e.PathFor(x.Cluster)
	a, err := next.Send(ctx, esapi.NewRequest(http.MethodDelete, path, nil))
	if err != nil {
		return err
	}
	return a.Body.Close()
}

// allParts reads and deletes all parts of a template.
func allParts(x *Exchange, _ *Node) error {
	name := x.Endpoint.Name
	switch {
	case name == "" || strings.Contains(name, "*"):
	case x.Asked.API == "indices.get_template" || x.Asked.API == "indices.get_index_template":
		var names []string
		for _, one := range strings.Split(name, ",") {
			names = append(names, one, one+partMark+"*")
		}
		x.Endpoint.Name = strings.Join(names, ",")
		x.Edited()
	case x.Asked.API == "indices.delete_template" || x.Asked.API == "indices.delete_index_template":
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			if r.Method != http.MethodDelete { // a step in front of this one asks for something
				return next.Send(ctx, r)
			}
			if err := deleteParts(ctx, x, name, next); err != nil {
				return nil, err
			}
			return next.Send(ctx, r)
		})
	}
	return nil
}

// joinParts shows the parts of a template as one.
func joinParts(_ *Exchange, n *Node) error {
	for _, name := range n.Keys() {
		base := partName.FindStringSubmatch(name)
		if base == nil || !n.Get(base[1]).IsObject() {
			continue
		}
		whole := n.Get(base[1])
		var patterns []string
		if p := whole.Get("index_patterns"); p.Exists() {
			for _, s := range p.Array() {
				patterns = append(patterns, s.Raw)
			}
		} else {
			patterns = append(patterns, whole.Get("template").Raw)
		}
		patterns = append(patterns, n.Get(name).Get("template").Raw)
		var o object
		whole.ForEach(func(key, value gjson.Result) bool {
			if key.String() == "template" || key.String() == "index_patterns" {
				o.set("index_patterns", "["+strings.Join(patterns, ",")+"]")
			} else {
				o.set(key.String(), value.Raw)
			}
			return true
		})
		n.Set(base[1], o.String())
		n.Drop(name)
	}
	return nil
}

// wrapTemplate shows a template's mapping under a type's name. One without is
// for all types, which 5.x calls _default_.
func wrapTemplate(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if !m.IsObject() || x.Asked.API == "cluster.state" {
		return nil
	}
	raw, t := withoutTypeMeta(m)
	switch {
	case !writesTypes(x):
		n.Set("mappings", raw)
		return nil
	case t == "" && raw == "{}":
		return nil
	case t == "" && x.Client.Before(V(6, 0)):
		t = "_default_"
	case t == "":
		t = "_doc"
	}
	n.Set("mappings", `{`+translate.Quote(t)+`:`+raw+`}`)
	return nil
}

func unwrapTemplate(x *Exchange, n *Node) error {
	m := n.Get("mappings")
	if writesTypes(x) || !m.IsObject() || x.Asked.API == "cluster.state" || x.Asked.API == "indices.get_index_template" && hasRootsOnly(m) {
		return nil
	}
	if d := m.Get("_default_"); d.IsObject() && len(m.Map()) == 1 {
		n.Set("mappings", d.Raw)
		return nil
	}
	n.Set("mappings", joinTypes(m))
	return nil
}

// hasRootsOnly reports whether a mapping has no types.
func hasRootsOnly(m gjson.Result) bool {
	return !slices.ContainsFunc(translate.NewNode(m.Raw).Keys(), func(key string) bool { return !translate.IsMappingRoot(key) })
}

// noWriteIndex takes is_write_index out where the alias needs none.
func noWriteIndex(x *Exchange, n *Node) error {
	w := n.Get("is_write_index")
	if !w.Exists() {
		return nil
	}
	if !w.Bool() {
		n.Drop("is_write_index")
		return nil
	}
	index, alias := x.Asked.Index, n.Name()
	switch {
	case x.Asked.API == "indices.put_alias":
		alias = x.Asked.Name
	case x.Asked.API == "indices.update_aliases":
		index, alias = n.Get("index").String(), n.Get("alias").String()
	}
	if x.Facts != nil && alias != "" {
		others, err := x.Facts.Expand(x.Context(), alias)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(others, func(o string) bool { return o != index && o != alias }) {
			return x.Refuse("is_write_index of the alias [%s], which has other indices, too", alias)
		}
	}
	n.Drop("is_write_index")
	return nil
}

func missingIndexTemplate(x *Exchange, _ *Node) error {
	if x.Status != http.StatusNotFound {
		return nil
	}
	reason := ""
	switch x.Asked.API {
	case "indices.get_index_template":
		reason = "index template matching [" + x.Asked.Name + "] not found"
	case "indices.delete_index_template":
		x.Replacement = []byte(errorBody(404, "index_template_missing_exception", "index_template ["+x.Asked.Name+"] missing"))
		return nil
	case "indices.delete_template":
		if x.Noted(notOlderNote) != nil {
			x.Edited()
		}
		return nil
	default:
		return nil
	}
	x.Replacement = []byte(errorBody(404, "resource_not_found_exception", reason))
	return nil
}

// showIndexTemplates shows templates as composable ones.
func showIndexTemplates(x *Exchange, n *Node) error {
	if x.Asked.API != "indices.get_index_template" {
		return nil
	}
	var list []string
	wholes, _ := x.Noted(keepsNote).(*kept)
	for _, name := range n.Keys() {
		t := n.Get(name)
		if !t.IsObject() {
			continue
		}
		if wholes != nil && wholes.values[name].Exists() {
			whole := translate.NewNode(wholes.values[name].Raw)
			if !whole.Has("composed_of") {
				whole.InsertAfter("template", "composed_of", "[]")
			}
			list = append(list, `{"name":`+translate.Quote(name)+`,"index_template":`+whole.Raw()+`}`)
			continue
		}
		var whole, template object
		for _, part := range []string{"settings", "mappings", "aliases"} {
			if p := t.Get(part); p.IsObject() && len(p.Map()) > 0 {
				template.set(part, p.Raw)
			}
		}
		patterns := t.Get("index_patterns").Raw
		if p := t.Get("template"); p.Type == gjson.String {
			patterns = "[" + p.Raw + "]"
		}
		whole.set("index_patterns", patterns)
		whole.set("template", template.String())
		whole.set("composed_of", "[]")
		whole.set("priority", t.Get("order").Raw)
		if v := t.Get("version"); v.Exists() {
			whole.set("version", v.Raw)
		}
		list = append(list, `{"name":`+translate.Quote(name)+`,"index_template":`+whole.String()+`}`)
	}
	n.Replace(`{"index_templates":[` + strings.Join(list, ",") + `]}`)
	return nil
}
