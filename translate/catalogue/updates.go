package catalogue

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Options of writes that are gone: fields of an updated document, versions of
// upserts, documents that expire, loose booleans; and pipelines by the name _none.

func init() {
	translate.Register(
		&Change{
			ID: "DOC-08", Name: "TimestampAndTTLWereRemoved", Since: V(6, 0),
			Doc: "timestamp and ttl are no parameters of a write. 5.x takes them, and they mean something in indices from 2.x only.",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "timestamp and ttl of mappings from 2.x",
				Request: []Rule{dropParams([]string{"index", "create", "update", "bulk"}, "timestamp", "ttl")}},
			NewClient: nothing,
		},
		&Change{
			ID: "DOC-15", Name: "FieldsOfUpdatesWereRemoved", Since: V(7, 0),
			Doc: `An update cannot answer fields of the document (fields=a,b) anymore; it answers parts of the source (_source=a,b).`,
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "fields that are stored and not in the source",
				Request: []Rule{
					onAPIs(translate.RequestHead, []string{"update"}, func(x *Exchange, _ *Node) error {
						if x.Asked.API != "update" || !x.Params.Has("fields") {
							return nil
						}
						x.Params.Drop("fields")
						if source, asked := askFieldsOfUpdate(x, strings.Split(x.AskedParams.Get("fields"), ",")); asked && !x.Params.Has("_source") {
							x.Params.Set("_source", source)
						}
						return nil
					}),
					at(translate.UpdateBody, func(x *Exchange, n *Node) error {
						list := n.Get("fields")
						if x.Asked.API != "update" || !list.Exists() {
							return nil
						}
						n.Drop("fields")
						var fields []string
						for _, f := range list.Array() {
							fields = append(fields, f.String())
						}
						if source, asked := askFieldsOfUpdate(x, fields); asked && !n.Has("_source") {
							n.SetString("_source", source)
							if strings.Contains(source, ",") {
								n.Set("_source", quoteAll(strings.Split(source, ",")))
							}
							if source == "true" {
								n.Set("_source", source)
							}
						}
						return nil
					}),
				},
				Response: []Rule{at(translate.WriteResult, showFieldsOfUpdate)}},
			NewClient: nothing,
		},
		&Change{
			ID: "DOC-17", Name: "UpsertsAtAVersionBecameErrors", Since: V(6, 0),
			Doc: "An update at a version takes no document for the case that there is none (upsert).",
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "for a document that is missing the error is another one", Request: []Rule{
				at(translate.UpdateBody, func(x *Exchange, n *Node) error {
					// It can only be needed where the version cannot match.
					if x.Asked.API == "update" && x.AskedParams.Has("version") && isInternal(x.AskedParams.Get("version_type")) {
						for _, key := range []string{"upsert", "doc_as_upsert", "scripted_upsert"} {
							n.Drop(key)
						}
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
		&Change{
			ID: "DOC-27", Name: "PipelinesCanBeSwitchedOff", Since: V(6, 5),
			Doc:       "An index can have a default pipeline, and pipeline=_none leaves it out.",
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{
				withParams(translate.RequestHead, func(x *Exchange, _ *Node) error {
					if x.Params.Get("pipeline") == "_none" {
						x.Params.Drop("pipeline")
					}
					return nil
				}),
				at(translate.BulkMeta, func(_ *Exchange, n *Node) error {
					if n.Get("pipeline").String() == "_none" {
						n.Drop("pipeline")
					}
					return nil
				}),
			}},
		},
		&Change{
			ID: "DOC-37", Name: "LooseBooleansBecameErrors", Since: V(6, 0),
			Doc: `A field of the type boolean takes true and false; 5.x also takes 0, 1, "on", "off", "yes", "no" and all else as true.`,
			OldClient: Direction{Fidelity: translate.Lossy, Loses: "the source shows true and false in place of them; those of fields that the mapping does not have yet", Request: []Rule{
				at(translate.BulkMeta, func(x *Exchange, n *Node) error {
					booleansOf(x).index = itemIndex(x, n)
					return nil
				}),
				at(translate.Document, documentBooleans),
				at(translate.UpdateBody, func(x *Exchange, n *Node) (err error) {
					for _, key := range []string{"doc", "upsert"} {
						edit(n, key, func(doc *Node) { err = documentBooleans(x, doc) })
						if err != nil {
							return err
						}
					}
					return nil
				}),
			}},
			NewClient: nothing,
		},
	)
}

const (
	updatedFieldsNote = "the fields that an update is to answer"
	booleansNote      = "the boolean fields of documents"
)

// askFieldsOfUpdate notes the fields and returns the parts of the source to ask
// for.
func askFieldsOfUpdate(x *Exchange, fields []string) (source string, asked bool) {
	var names []string
	whole := false
	for _, f := range fields {
		if f == "_source" {
			whole = true
		} else if f != "" {
			names = append(names, f)
		}
	}
	if len(names) == 0 && !whole {
		return "", false
	}
	x.Note(updatedFieldsNote, names)
	if whole {
		x.Note(updatedFieldsNote+": and the source", true)
		return "true", true
	}
	return strings.Join(names, ","), true
}

// showFieldsOfUpdate shows parts of the source as fields.
func showFieldsOfUpdate(x *Exchange, n *Node) error {
	names, ok := x.Noted(updatedFieldsNote).([]string)
	if !ok {
		return nil
	}
	edit(n, "get", func(get *Node) {
		source := get.Get("_source")
		values := map[string][]string{}
		flatten(source, "", func(name string, v gjson.Result) { values[name] = append(values[name], v.Raw) })
		var fields object
		for _, name := range names {
			if len(values[name]) > 0 {
				fields.set(name, "["+strings.Join(values[name], ",")+"]")
			}
		}
		if x.Noted(updatedFieldsNote+": and the source") == nil {
			get.Drop("_source")
		}
		if fields.len() > 0 {
			get.Set("fields", fields.String())
		}
	})
	return nil
}

// documentBooleans writes the values of a document's boolean fields as all
// versions take them.
func documentBooleans(x *Exchange, n *Node) error {
	b := booleansOf(x)
	if x.Facts == nil || b.index == "" {
		return nil
	}
	if err := b.know(x); err != nil {
		return err
	}
	if len(b.fields) == 0 {
		x.SparesDocuments()
		return nil
	}
	for name := range b.fields {
		if v := n.Get(name); v.Exists() {
			if raw, changed := withBooleans(v, name, b.fields); changed {
				n.Set(name, raw)
			}
		}
	}
	return nil
}

// documentsBooleans are the boolean fields of the documents of a request.
type documentsBooleans struct {
	index  string          // of the document that comes next
	of     string          // the index whose fields are known
	fields map[string]bool // the fields, and the objects that they are in as false
}

func booleansOf(x *Exchange) *documentsBooleans {
	if b, ok := x.Noted(booleansNote).(*documentsBooleans); ok {
		return b
	}
	b := &documentsBooleans{index: x.Endpoint.Index}
	x.Note(booleansNote, b)
	return b
}

// know asks for the fields of the index, once for all documents of one index
// that follow each other.
func (b *documentsBooleans) know(x *Exchange) error {
	if b.of == b.index {
		return nil
	}
	f, _, err := x.Facts.Index(x.Context(), b.index)
	if err != nil {
		return err
	}
	b.of, b.fields = b.index, map[string]bool{}
	for name, field := range f.Fields {
		if field.Type != "boolean" {
			continue
		}
		for i, c := range name + "." {
			if c == '.' {
				b.fields[name[:i]] = b.fields[name[:i]] || i == len(name)
			}
		}
	}
	return nil
}

// withBooleans changes the values below v, which stands at a name of fields.
func withBooleans(v gjson.Result, name string, fields map[string]bool) (raw string, changed bool) {
	isField, known := fields[name]
	switch {
	case !known:
		return v.Raw, false
	case v.IsArray():
		var list []string
		v.ForEach(func(_, e gjson.Result) bool {
			raw, c := withBooleans(e, name, fields)
			list = append(list, raw)
			changed = changed || c
			return true
		})
		return "[" + strings.Join(list, ",") + "]", changed
	case v.IsObject():
		n := translate.NewNode(v.Raw)
		v.ForEach(func(key, value gjson.Result) bool {
			if raw, c := withBooleans(value, name+"."+key.String(), fields); c {
				n.Set(key.String(), raw)
			}
			return true
		})
		return n.Raw(), n.Changed()
	case !isField || v.Type == gjson.True || v.Type == gjson.False || v.Type == gjson.Null:
		return v.Raw, false
	}
	switch v.String() {
	case "true", "false", "":
		return v.Raw, false
	case "off", "no", "0", "0.0":
		return "false", true
	}
	return "true", true
}
