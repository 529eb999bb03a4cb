package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// Composable templates on clusters that have none. One is put together when it
// is given, and once more when one of its parts is, and kept as a _template of
// its name. What the application gave, and the parts, are kept in templates that
// match no index, in the _meta of their mappings.

const (
	keptParts  = "esperanto.component."
	keptWholes = "esperanto.template."
	keepsNote  = "what composable templates are kept"

	notOlderNote = "the template is no one of the older kind"

	// Names of indices have no capital letters.
	neverAnIndex = "ESPERANTO-KEEPS-THIS"
)

// kept are composable templates or their parts, by name, as the application is
// shown them.
type kept struct {
	names  []string
	values map[string]gjson.Result
}

func (k *kept) set(name string, value gjson.Result) {
	if _, known := k.values[name]; !known {
		k.names = append(k.names, name)
		slices.Sort(k.names)
	}
	k.values[name] = value
}

// keptIn reads them from the answer to GET /_template.
func keptIn(templates gjson.Result, prefix string) *kept {
	k := &kept{values: map[string]gjson.Result{}}
	templates.ForEach(func(key, t gjson.Result) bool {
		if name, ok := strings.CutPrefix(key.String(), prefix); ok {
			mapping := t.Get("mappings")
			if text := keptText(mapping); text != "" {
				k.set(name, gjson.Parse(text))
			}
		}
		return true
	})
	return k
}

// keptText is in a mapping's _meta, below a type's name or not.
func keptText(mapping gjson.Result) (text string) {
	if text = mapping.Get("_meta.esperanto.keeps").String(); text != "" || !mapping.IsObject() {
		return text
	}
	mapping.ForEach(func(_, typed gjson.Result) bool {
		text = typed.Get("_meta.esperanto.keeps").String()
		return text == ""
	})
	return text
}

// composer carries out one request about composable templates.
type composer struct {
	x      *Exchange
	params esapi.Params
	next   esapi.Sender
	ctx    context.Context
}

// composeTemplates takes over the requests about composable templates.
func composeTemplates(x *Exchange, _ *Node) error {
	var do func(*composer, *Node) (*esapi.Response, error)
	switch x.Asked.API {
	case "indices.put_index_template":
		do = (*composer).putWhole
	case "cluster.put_component_template":
		do = (*composer).putPart
	case "cluster.get_component_template", "cluster.exists_component_template":
		do = (*composer).getParts
	case "cluster.delete_component_template":
		do = (*composer).deleteParts
	case "indices.simulate_template", "indices.simulate_index_template":
		do = (*composer).simulate
	case "indices.get_index_template":
		x.Endpoint.API = "indices.get_template"
		if x.Endpoint.Name != "" {
			x.Endpoint.Name += "," + keptWholes + x.Endpoint.Name
		}
	case "indices.exists_index_template":
		x.Endpoint.API = "indices.exists_template"
	case "indices.delete_index_template":
		if strings.ContainsAny(x.Asked.Name, "*,") {
			do = (*composer).deleteWholes
			break
		}
		x.Endpoint.API = "indices.delete_template"
		x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			c := &composer{x: x, ctx: ctx, next: next}
			if err := c.delete(keptWholes + x.Asked.Name); err != nil {
				return nil, err
			}
			return next.Send(ctx, r)
		})
	case "indices.delete_template":
		if strings.Contains(x.Asked.Name, "*") {
			do = (*composer).deleteOlder
			break
		}
		x.ViaPerhaps(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
			c := &composer{x: x, ctx: ctx, next: next}
			if all, err := c.templates(keptWholes + x.Asked.Name); err != nil {
				return nil, err
			} else if len(keptIn(all, keptWholes).names) > 0 {
				x.Note(notOlderNote, true)
				return noTemplate(x.Asked.Name), nil
			}
			return next.Send(ctx, r)
		})
		return nil
	default:
		return nil
	}
	x.Edited()
	if do == nil {
		return nil
	}
	body := x.RequestBody
	x.RequestBody = nil
	x.Header.Del("Content-Type")
	x.Endpoint = esapi.Endpoint{API: "indices.get_template", Method: "GET"}
	x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
		c := &composer{x, r.Params, next, ctx}
		n := translate.NewNode(cmp.Or(string(body), "{}"))
		if !esapi.ValidJSON([]byte(n.Raw())) || !n.IsObject() {
			return nil, esapi.ParsingException("the body is not a JSON object", 1, 1)
		}
		return do(c, n)
	})
	return nil
}

// templates reads the _templates of names.
func (c *composer) templates(names string) (gjson.Result, error) {
	p, _ := esapi.Endpoint{API: "indices.get_template", Method: "GET", Name: names}.PathFor(c.x.Cluster)
	a, body, err := sendWhole(c.ctx, esapi.NewRequest("GET", p, nil), c.next)
	if err != nil || a.Status == http.StatusNotFound {
		return gjson.Result{}, err
	}
	if a.Status >= 300 {
		return gjson.Result{}, esapi.ParseError(a.Status, body)
	}
	return gjson.ParseBytes(body), nil
}

// put writes a _template that is given in the client's dialect, one for each of
// its patterns on clusters that take one.
func (c *composer) put(name string, template *object, params esapi.Params) (*esapi.Response, error) {
	patterns := gjson.Parse(template.values["index_patterns"]).Array()
	if c.x.Cluster.AtLeast(V(6, 0)) {
		return c.putOne(name, template, params)
	}
	var first *esapi.Response
	for i, pattern := range patterns {
		title := name
		if i > 0 {
			title, params = name+partMark+itoa(i+1), esapi.Params{}
		}
		template.set("index_patterns", "["+pattern.Raw+"]")
		a, err := c.putOne(title, template, params)
		if err != nil || a.Status >= 300 {
			return a, err
		}
		if i > 0 {
			_ = a.Body.Close()
			continue
		}
		body, err := readAll(a)
		if err != nil {
			return nil, err
		}
		first = withBody(a, body)
		if err := c.delete(name + partMark + "*"); err != nil { // of what it replaces
			return nil, err
		}
	}
	if first == nil {
		return nil, esapi.ValidationFailed("index patterns are missing")
	}
	return first, nil
}

func (c *composer) putOne(name string, template *object, params esapi.Params) (*esapi.Response, error) {
	body, err := c.x.TranslateRequest(translate.TemplateBody, []byte(template.String()))
	if err != nil {
		return nil, err
	}
	p, _ := esapi.Endpoint{API: "indices.put_template", Method: "PUT", Name: name}.PathFor(c.x.Cluster)
	r := esapi.NewRequest("PUT", p, body)
	r.Params = params
	return c.next.Send(c.ctx, r)
}

// delete deletes templates; that there are none is no error.
func (c *composer) delete(name string) error {
	p, _ := esapi.Endpoint{API: "indices.delete_template", Method: "DELETE", Name: name}.PathFor(c.x.Cluster)
	a, body, err := sendWhole(c.ctx, esapi.NewRequest("DELETE", p, nil), c.next)
	if err != nil || a.Status < 300 || a.Status == http.StatusNotFound {
		return err
	}
	return esapi.ParseError(a.Status, body)
}

// keep writes a template that only keeps what the application gave. The
// cluster looks at the settings and mappings that come with it.
func (c *composer) keep(name string, value string, checked gjson.Result) (*esapi.Response, error) {
	var mappings, t object
	mappings.addAll(checked.Get("mappings"))
	mappings.set("_meta", `{"esperanto":{"keeps":`+translate.Quote(value)+`}}`)
	t.set("index_patterns", "")
	t.set("order", "")
	t.addAll(checked)
	t.set("index_patterns", `["`+neverAnIndex+`"]`) // whatever the application wrote
	t.set("order", "0")
	t.set("mappings", mappings.String())
	return c.putOne(name, &t, esapi.Params{})
}

// given are the parameters of a put that a _template takes.
func (c *composer) given() esapi.Params {
	var p esapi.Params
	for _, name := range []string{"create", "master_timeout"} {
		if c.params.Has(name) {
			p.Set(name, c.params.Get(name))
		}
	}
	return p
}

func (c *composer) putWhole(n *Node) (*esapi.Response, error) {
	if n.Has("data_stream") {
		return nil, c.x.Refuse("a template for data streams")
	}
	name := c.x.Asked.Name
	normalize(n)
	parts := &kept{values: map[string]gjson.Result{}}
	if len(n.Get("composed_of").Array()) > 0 {
		all, err := c.templates(keptParts + "*")
		if err != nil {
			return nil, err
		}
		parts = keptIn(all, keptParts)
	}
	whole := n.Value()
	template, err := composed(name, whole, parts)
	if err != nil {
		return nil, err
	}
	a, err := c.put(name, template, c.given())
	if err != nil || a.Status >= 300 {
		return a, err
	}
	return c.afterwards(a, func() (*esapi.Response, error) { return c.keep(keptWholes+name, whole.Raw, gjson.Result{}) })
}

// afterwards gives the first answer unless what follows fails.
func (c *composer) afterwards(a *esapi.Response, then func() (*esapi.Response, error)) (*esapi.Response, error) {
	b, err := then()
	if err != nil || b.Status >= 300 {
		_ = a.Body.Close()
		return b, err
	}
	_ = b.Body.Close()
	return a, nil
}

func (c *composer) putPart(n *Node) (*esapi.Response, error) {
	if !n.Get("template").IsObject() {
		return nil, esapi.IllegalArgument("Required [template]")
	}
	name := c.x.Asked.Name
	normalize(n)
	all, err := c.templates("esperanto.*")
	if err != nil {
		return nil, err
	}
	parts, wholes := keptIn(all, keptParts), keptIn(all, keptWholes)
	if _, exists := parts.values[name]; exists && c.params.Bool("create") {
		return nil, esapi.IllegalArgument("component template [" + name + "] already exists")
	}
	part := n.Value()
	answer, err := c.keep(keptParts+name, part.Raw, part.Get("template"))
	if err != nil || answer.Status >= 300 {
		return answer, err
	}
	parts.set(name, part)
	for _, user := range wholes.users(name) {
		template, err := composed(user, wholes.values[user], parts)
		if err != nil {
			return nil, err
		}
		if answer, err = c.afterwards(answer, func() (*esapi.Response, error) { return c.put(user, template, esapi.Params{}) }); err != nil || answer.Status >= 300 {
			return answer, err
		}
	}
	return answer, nil
}

// users are the templates that are composed of a part.
func (k *kept) users(part string) []string {
	var users []string
	for _, name := range k.names {
		if slices.ContainsFunc(k.values[name].Get("composed_of").Array(), func(p gjson.Result) bool { return p.String() == part }) {
			users = append(users, name)
		}
	}
	return users
}

// matching are the names that a list of patterns means.
func (k *kept) matching(list string) []string {
	return slices.DeleteFunc(slices.Clone(k.names), func(name string) bool {
		return list != "" && !slices.ContainsFunc(strings.Split(list, ","), func(p string) bool { return matchesPattern(p, name) })
	})
}

func matchesPattern(pattern, name string) bool {
	// Of the signs of path.Match, * is the only one that means something here.
	matched, err := path.Match(strings.NewReplacer("?", `\?`, "[", `\[`, `\`, `\\`).Replace(pattern), strings.ReplaceAll(name, "/", "-"))
	return err == nil && matched
}

func (c *composer) getParts(*Node) (*esapi.Response, error) {
	asked := c.x.Asked.Name
	all, err := c.templates(keptParts + "*")
	if err != nil {
		return nil, err
	}
	parts := keptIn(all, keptParts)
	var list []string
	for _, name := range parts.matching(asked) {
		list = append(list, `{"name":`+translate.Quote(name)+`,"component_template":`+parts.values[name].Raw+`}`)
	}
	status := http.StatusOK
	if len(list) == 0 && asked != "" {
		status = http.StatusNotFound
		if !strings.Contains(asked, "*") {
			return esapi.NewResponse(status, []byte(errorBody(status, "resource_not_found_exception", "component template matching ["+asked+"] not found"))), nil
		}
	}
	return esapi.NewResponse(status, []byte(`{"component_templates":[`+strings.Join(list, ",")+`]}`)), nil
}

func (c *composer) deleteParts(*Node) (*esapi.Response, error) {
	asked := c.x.Asked.Name
	all, err := c.templates("esperanto.*")
	if err != nil {
		return nil, err
	}
	parts, wholes := keptIn(all, keptParts), keptIn(all, keptWholes)
	names := parts.matching(asked)
	var used, users []string
	for _, name := range names {
		if by := wholes.users(name); len(by) > 0 {
			used, users = append(used, name), append(users, by...)
		}
	}
	slices.Sort(users)
	switch {
	case len(names) == 0:
		return esapi.NewResponse(http.StatusNotFound, []byte(errorBody(404, "resource_not_found_exception", asked))), nil
	case len(used) > 0:
		return nil, esapi.IllegalArgument(fmt.Sprintf("component templates [%s] cannot be removed as they are still in use by index templates [%s]",
			strings.Join(used, ", "), strings.Join(slices.Compact(users), ", ")))
	}
	for _, name := range names {
		if err := c.delete(keptParts + name); err != nil {
			return nil, err
		}
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
}

// deleteWholes deletes the composable templates that a list or a pattern names, and
// none of the older kind.
func (c *composer) deleteWholes(*Node) (*esapi.Response, error) {
	all, err := c.templates(keptWholes + "*")
	if err != nil {
		return nil, err
	}
	names := keptIn(all, keptWholes).matching(c.x.Asked.Name)
	if len(names) == 0 && c.x.Asked.Name != "*" {
		reason := "index_template [" + c.x.Asked.Name + "] missing"
		return esapi.NewResponse(http.StatusNotFound, []byte(errorBody(404, "index_template_missing_exception", reason))), nil
	}
	for _, name := range names {
		for _, title := range []string{name, name + partMark + "*", keptWholes + name} {
			if err := c.delete(title); err != nil {
				return nil, err
			}
		}
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
}

// deleteOlder deletes the templates of the older kind that a pattern names, and no
// composable ones.
func (c *composer) deleteOlder(*Node) (*esapi.Response, error) {
	all, err := c.templates("")
	if err != nil {
		return nil, err
	}
	wholes := keptIn(all, keptWholes)
	var names []string
	all.ForEach(func(key, _ gjson.Result) bool {
		name := key.String()
		if base := partName.FindStringSubmatch(name); base != nil && all.Get(gjson.Escape(base[1])).Exists() {
			return true
		}
		ours := wholes.values[name].Exists() || strings.HasPrefix(name, keptWholes) || strings.HasPrefix(name, keptParts)
		if !ours && matchesPattern(c.x.Asked.Name, name) {
			names = append(names, name)
		}
		return true
	})
	if len(names) == 0 && c.x.Asked.Name != "*" {
		return noTemplate(c.x.Asked.Name), nil
	}
	for _, name := range names {
		if err := c.delete(name); err != nil {
			return nil, err
		}
		if c.x.Cluster.Before(V(6, 0)) {
			if err := c.delete(name + partMark + "*"); err != nil {
				return nil, err
			}
		}
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"acknowledged":true}`)), nil
}

// noTemplate is the answer where there is no template of the older kind.
func noTemplate(name string) *esapi.Response {
	return esapi.NewResponse(http.StatusNotFound, []byte(errorBody(404, "index_template_missing_exception", "index_template ["+name+"] missing")))
}

// simulate shows what an index, or a template, would be put together to.
func (c *composer) simulate(n *Node) (*esapi.Response, error) {
	all, err := c.templates("esperanto.*")
	if err != nil {
		return nil, err
	}
	parts, wholes := keptIn(all, keptParts), keptIn(all, keptWholes)
	name, matches := c.x.Asked.Name, func(gjson.Result) bool { return false }
	if c.x.Asked.API == "indices.simulate_index_template" {
		if n.Len() > 0 {
			return nil, c.x.Refuse("_simulate_index with a template")
		}
		index := name
		matches = func(whole gjson.Result) bool {
			return slices.ContainsFunc(whole.Get("index_patterns").Array(), func(p gjson.Result) bool { return matchesPattern(p.String(), index) })
		}
		name = ""
		for _, candidate := range wholes.names {
			if w := wholes.values[candidate]; matches(w) && (name == "" || w.Get("priority").Int() > wholes.values[name].Get("priority").Int()) {
				name = candidate
			}
		}
		if name == "" {
			return esapi.NewResponse(http.StatusOK, []byte("{}")), nil
		}
	} else {
		if n.Len() > 0 {
			normalize(n)
			name = cmp.Or(name, "simulated template")
			wholes.set(name, n.Value())
		}
		if _, known := wholes.values[name]; !known {
			return nil, esapi.IllegalArgument("unable to simulate template [" + name + "] that does not exist")
		}
		own := wholes.values[name].Get("index_patterns").Array()
		matches = func(whole gjson.Result) bool {
			return slices.ContainsFunc(whole.Get("index_patterns").Array(), func(p gjson.Result) bool {
				return slices.ContainsFunc(own, func(o gjson.Result) bool {
					return matchesPattern(p.String(), o.String()) || matchesPattern(o.String(), p.String())
				})
			})
		}
	}
	template, err := composed(name, wholes.values[name], parts)
	if err != nil {
		return nil, err
	}
	var shown object
	for _, key := range []string{"settings", "mappings", "aliases"} {
		shown.set(key, cmp.Or(template.values[key], "{}"))
	}
	var overlapping []string
	for _, other := range wholes.names {
		if w := wholes.values[other]; other != name && matches(w) {
			overlapping = append(overlapping, `{"name":`+translate.Quote(other)+`,"index_patterns":`+w.Get("index_patterns").Raw+`}`)
		}
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"template":`+shown.String()+`,"overlapping":[`+strings.Join(overlapping, ",")+`]}`)), nil
}

// composed puts a template together from its parts, the later ones over the
// earlier, and its own over all.
func composed(name string, whole gjson.Result, parts *kept) (*object, error) {
	var missing, ignored []string
	for _, i := range whole.Get("ignore_missing_component_templates").Array() {
		ignored = append(ignored, i.String())
	}
	var from []gjson.Result
	for _, p := range whole.Get("composed_of").Array() {
		if part, ok := parts.values[p.String()]; ok {
			from = append(from, part.Get("template"))
		} else if !slices.Contains(ignored, p.String()) {
			missing = append(missing, p.String())
		}
	}
	if missing != nil {
		return nil, &esapi.Error{Status: http.StatusBadRequest, Type: "invalid_index_template_exception",
			Reason: fmt.Sprintf("index_template [%s] invalid, cause [index template [%s] specifies component templates [%s] that do not exist]", name, name, strings.Join(missing, ", "))}
	}
	var settings, aliases object
	mappings := "{}"
	for _, t := range append(from, whole.Get("template")) {
		flatSettings(t.Get("settings"), "", &settings)
		aliases.addAll(t.Get("aliases"))
		if m := t.Get("mappings"); m.IsObject() {
			mappings = mergedMappings(gjson.Parse(mappings), m)
		}
	}
	var template object
	template.set("index_patterns", cmp.Or(whole.Get("index_patterns").Raw, "[]"))
	template.set("order", cmp.Or(whole.Get("priority").Raw, "0"))
	if v := whole.Get("version"); v.Exists() {
		template.set("version", v.Raw)
	}
	for _, part := range []struct{ key, raw string }{{"settings", nestedSettings(&settings)}, {"mappings", mappings}, {"aliases", aliases.String()}} {
		if part.raw != "{}" {
			template.set(part.key, part.raw)
		}
	}
	return &template, nil
}

// mergedMappings lays one mapping over another: objects are joined, fields and
// dynamic templates of the same name replaced.
func mergedMappings(under, over gjson.Result) string {
	var o object
	o.addAll(under)
	over.ForEach(func(k, v gjson.Result) bool {
		key, below := k.String(), member(under, k.String())
		switch {
		case key == "properties" && below.IsObject():
			var fields object
			fields.addAll(below)
			v.ForEach(func(name, field gjson.Result) bool {
				if old := member(below, name.String()); isObjectField(old) && isObjectField(field) {
					fields.set(name.String(), mergedMappings(old, field))
				} else {
					fields.set(name.String(), field.Raw)
				}
				return true
			})
			o.set(key, fields.String())
		case key == "dynamic_templates" && below.IsArray():
			var named object
			for _, t := range append(below.Array(), v.Array()...) {
				named.addAll(t)
			}
			var list []string
			for _, name := range named.keys {
				list = append(list, "{"+translate.Quote(name)+":"+named.values[name]+"}")
			}
			o.set(key, "["+strings.Join(list, ",")+"]")
		case key == "_meta" && below.IsObject():
			var meta object
			meta.addAll(below)
			meta.addAll(v)
			o.set(key, meta.String())
		default:
			o.set(key, v.Raw)
		}
		return true
	})
	return o.String()
}

func isObjectField(field gjson.Result) bool {
	return field.Get("properties").IsObject() && slices.Contains([]string{"", "object", "nested"}, field.Get("type").String())
}

// normalize writes a template as Elasticsearch shows it: settings nested and as
// texts, and the two routings of aliases.
func normalize(n *Node) {
	edit(n, "template", func(t *Node) {
		if s := t.Get("settings"); s.IsObject() {
			var flat object
			flatSettings(s, "", &flat)
			t.Set("settings", nestedSettings(&flat))
		}
		edit(t, "aliases", func(aliases *Node) {
			for _, name := range aliases.Keys() {
				edit(aliases, name, func(alias *Node) {
					if r := alias.Get("routing"); r.Exists() {
						for _, key := range []string{"index_routing", "search_routing"} {
							if !alias.Has(key) {
								alias.Set(key, r.Raw)
							}
						}
						alias.Drop("routing")
					}
				})
			}
		})
	})
	if p := n.Get("index_patterns"); p.Type == gjson.String {
		n.Set("index_patterns", "["+p.Raw+"]")
	}
}

// flatSettings collects settings by their full names.
func flatSettings(v gjson.Result, name string, into *object) {
	switch {
	case v.IsObject():
		v.ForEach(func(key, below gjson.Result) bool {
			full := key.String()
			if name != "" {
				full = name + "." + full
			}
			flatSettings(below, full, into)
			return true
		})
	case name == "":
	default:
		if !strings.HasPrefix(name, "index.") {
			name = "index." + name
		}
		raw := v.Raw
		switch {
		case v.IsArray():
			var list []string
			for _, e := range v.Array() {
				list = append(list, e.String())
			}
			raw = quoteAll(list)
		case v.Type != gjson.Null:
			raw = translate.Quote(v.String())
		}
		into.set(name, raw)
	}
}

// nestedSettings writes settings with full names as objects in objects. What has
// more dots than any setting keeps them.
func nestedSettings(flat *object) string { return nestedBelow(flat, 0) }

const maxSettingDepth = 64

func nestedBelow(flat *object, depth int) string {
	var order []string
	below := map[string]*object{}
	var o object
	for _, name := range flat.keys {
		first, rest, nested := strings.Cut(name, ".")
		if !nested || flat.has(first) || depth == maxSettingDepth {
			o.set(name, flat.values[name])
			continue
		}
		if below[first] == nil {
			below[first] = &object{}
			order = append(order, first)
			o.set(first, "")
		}
		below[first].set(rest, flat.values[name])
	}
	for _, first := range order {
		o.set(first, nestedBelow(below[first], depth+1))
	}
	return o.String()
}

// showKept shows templates as composable ones, and never what keeps them.
func showKept(x *Exchange, n *Node) error {
	if x.Asked.API != "indices.get_index_template" && x.Asked.API != "indices.get_template" {
		return nil
	}
	wholes := keptIn(n.Value(), keptWholes)
	n.DropIf(func(key string) bool { return strings.HasPrefix(key, keptWholes) || strings.HasPrefix(key, keptParts) })
	x.Note(keepsNote, wholes)
	return nil
}
