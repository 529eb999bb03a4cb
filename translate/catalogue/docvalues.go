package catalogue

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/translate"
)

// Values of fields beside the source: docvalue_fields and fields.

const (
	docvaluesNote = "docvalue fields that are dates"
	fieldsNote    = "fields that were asked for"

	// The searches of an msearch are numbered from 1; a search has the number 0.
	askedSearchNote    = "number of the search that is asked"
	answeredSearchNote = "number of the search that is answered"
)

func noted(x *Exchange, note string) int {
	n, _ := x.Noted(note).(int)
	return n
}

// dateForm says how the dates of a field are to be shown; "" are milliseconds as
// a number.
type dateForm string

func init() {
	translate.Register(
		&Change{
			ID: "SRCH-10", Name: "DocvalueDatesBecameText", Since: V(6, 0),
			Doc: "Dates in docvalue_fields are shown as text; they were milliseconds.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.DocvalueFields, func(x *Exchange, n *Node) error {
				if x.Cluster.Before(V(6, 4)) {
					return nil // where no format can be given
				}
				return eachDocvalue(n, func(field, _ string) (string, error) {
					if date, err := isDate(x, field); !date {
						return "", err
					}
					noteDate(x, docvaluesNote, field, "")
					return `{"field":` + translate.Quote(field) + `,"format":"epoch_millis"}`, nil
				})
			})}, Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
				eachNotedDate(x, n, func(_ dateForm, v gjson.Result) string {
					if v.Type == gjson.String && isNumber(v.String()) {
						return v.String()
					}
					return v.Raw
				})
				return nil
			})}},
			NewClient: Direction{Fidelity: translate.Lossy, Loses: "dates in formats other than the usual ones are shown as ISO 8601",
				Request: []Rule{at(translate.DocvalueFields, func(x *Exchange, n *Node) error {
					return eachDocvalue(n, func(field, format string) (string, error) {
						f, _, err := fieldOf(x, field)
						if f.Type == "date" || f.Type == "date_nanos" {
							if (format == "" && x.Client.AtLeast(V(7, 0))) || format == "use_field_mapping" {
								format = f.Format
							}
							noteDate(x, docvaluesNote, field, dateForm(orElse(format, "strict_date_time")))
						}
						return translate.Quote(field), err
					})
				})}, Response: []Rule{at(translate.Hit, func(x *Exchange, n *Node) error {
					eachNotedDate(x, n, func(form dateForm, v gjson.Result) string {
						if v.Type != gjson.Number {
							return v.Raw
						}
						return translate.Quote(form.show(time.UnixMilli(v.Int())))
					})
					return nil
				})}},
		},
		&Change{
			ID: "SRCH-10", Name: "DocvalueFieldsUseTheMappingsFormat", Since: V(7, 0),
			Doc: "Dates in docvalue_fields are shown in the mapping's format; 6.x shows them as ISO 8601 unless the format use_field_mapping is given.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.DocvalueFields, func(x *Exchange, n *Node) error {
				return eachDocvalue(n, func(field, format string) (string, error) {
					f, _, err := fieldOf(x, field)
					if f.Type == "date" && f.Format != "" && format == "" {
						return `{"field":` + translate.Quote(field) + `,"format":"strict_date_time"}`, err
					}
					return "", err
				})
			})}},
			NewClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.DocvalueFields, func(x *Exchange, n *Node) error {
				if x.Cluster.Before(V(6, 4)) {
					return nil
				}
				return eachDocvalue(n, func(field, format string) (string, error) {
					if date, err := isDate(x, field); format != "" || !date {
						return "", err
					}
					return `{"field":` + translate.Quote(field) + `,"format":"use_field_mapping"}`, nil
				})
			})}},
		},
		&Change{
			ID: "SRCH-10", Name: "UseFieldMappingWasRemoved", Since: V(8, 0),
			Doc: "The format use_field_mapping of docvalue_fields is gone: it is the default.",
			OldClient: Direction{Fidelity: translate.Exact, Request: []Rule{at(translate.DocvalueFields, func(_ *Exchange, n *Node) error {
				return eachDocvalue(n, func(field, format string) (string, error) {
					if format == "use_field_mapping" {
						return translate.Quote(field), nil
					}
					return "", nil
				})
			})}},
			NewClient: nothing,
		},
		&Change{
			ID: "SRCH-12", Name: "FieldsOptionAppeared", Since: V(7, 10),
			Doc:       `A search with "fields" answers the values of fields as the mapping sees them.`,
			OldClient: nothing,
			NewClient: Direction{Fidelity: translate.Lossy,
				Loses: "values are taken from the source as they stand there: none of copy_to, aliases and runtime fields; later pages of a scroll have none",
				Request: []Rule{
					at(translate.MsearchHeader, func(x *Exchange, _ *Node) error {
						x.Note(askedSearchNote, noted(x, askedSearchNote)+1)
						return nil
					}),
					at(translate.SearchBody, askForFields),
				},
				Response: []Rule{
					at(translate.SearchAnswer, func(x *Exchange, n *Node) error {
						if x.Asked.API == "msearch" && n.Name() == "" && n.Part() == translate.Whole {
							x.Note(answeredSearchNote, noted(x, answeredSearchNote)+1)
						}
						return nil
					}),
					at(translate.Hit, fieldsFromSource),
				}},
		},
	)
}

// eachDocvalue calls do for each of the docvalue fields with its format, and
// puts what it returns in the field's place; "" leaves it.
func eachDocvalue(n *Node, do func(field, format string) (string, error)) error {
	var list []string
	changed := false
	for _, e := range n.Value().Array() {
		field, format := e.String(), ""
		if e.IsObject() {
			field, format = e.Get("field").String(), e.Get("format").String()
		}
		raw, err := do(field, format)
		if err != nil {
			return err
		}
		if raw == "" {
			raw = e.Raw
		}
		changed = changed || raw != e.Raw
		list = append(list, raw)
	}
	if changed {
		n.Replace("[" + strings.Join(list, ",") + "]")
	}
	return nil
}

func noteDate(x *Exchange, note, field string, form dateForm) {
	dates, _ := x.Noted(note).(map[string]dateForm)
	if dates == nil {
		dates = map[string]dateForm{}
		x.Note(note, dates)
	}
	dates[field] = form
}

// eachNotedDate changes the values of date fields in a hit.
func eachNotedDate(x *Exchange, hit *Node, do func(form dateForm, v gjson.Result) string) {
	dates, _ := x.Noted(docvaluesNote).(map[string]dateForm)
	if dates == nil || !hit.Has("fields") {
		return
	}
	edit(hit, "fields", func(fields *Node) {
		for field, form := range dates {
			var values []string
			for _, v := range fields.Get(field).Array() {
				values = append(values, do(form, v))
			}
			if len(values) > 0 {
				fields.Set(field, "["+strings.Join(values, ",")+"]")
			}
		}
	})
}

// layouts are the formats that dates can be written in here, as Go writes them.
var layouts = map[string]string{
	"": isoMillis, "strict_date_time": isoMillis, "date_time": isoMillis, "strict_date_optional_time": isoMillis, "date_optional_time": isoMillis,
	"strict_date_optional_time_nanos": "2006-01-02T15:04:05.000000000Z07:00", "iso8601": isoMillis,
	"strict_date": "2006-01-02", "date": "2006-01-02", "basic_date": "20060102", "strict_year": "2006", "year": "2006",
	"strict_date_time_no_millis": time.RFC3339, "date_time_no_millis": time.RFC3339,
}

const isoMillis = "2006-01-02T15:04:05.000Z07:00"

// layoutLetters are the runs of letters in a date pattern that Go has a form of.
var layoutLetters = map[string]string{
	"yyyy": "2006", "uuuu": "2006", "yy": "06", "MM": "01", "dd": "02", "HH": "15", "mm": "04", "ss": "05", "SSS": "000",
	"XXX": "Z07:00", "XX": "Z0700",
}

// show writes a date in UTC. Elasticsearch takes the first of several
// alternatives.
func (f dateForm) show(t time.Time) string {
	t = t.UTC()
	first, _, _ := strings.Cut(string(f), "||")
	switch first {
	case "epoch_millis":
		return strconv.FormatInt(t.UnixMilli(), 10)
	case "epoch_second":
		return strconv.FormatInt(t.Unix(), 10)
	}
	layout, ok := layouts[snakeDateFormat(first)]
	if !ok {
		known := true
		layout = changeLetters(first, func(letter byte, n int) string {
			l, ok := layoutLetters[strings.Repeat(string(letter), n)]
			letters := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z'
			known = known && (ok || !letters)
			return l
		})
		if layout = strings.ReplaceAll(layout, "'", ""); !known {
			layout = isoMillis
		}
	}
	return t.Format(layout)
}

// A wantedField is an entry of "fields".
type wantedField struct{ pattern, format string }

type wantedFields struct {
	fields     []wantedField
	hideSource bool
	mappings   mappings
}

// askForFields takes "fields" out of a search and sees that the source comes
// with the hits.
func askForFields(x *Exchange, n *Node) error {
	list := n.Get("fields")
	if !list.Exists() || !isSearchRoot(n) {
		return nil
	}
	if x.Asked.API != "search" && x.Asked.API != "msearch" {
		return x.Refuse("fields in an %s", x.Asked.API)
	}
	mappings, err := searchedMappings(x)
	if err != nil {
		return err
	}
	wanted := wantedFields{mappings: mappings}
	for _, f := range list.Array() {
		if f.IsObject() {
			wanted.fields = append(wanted.fields, wantedField{f.Get("field").String(), f.Get("format").String()})
		} else {
			wanted.fields = append(wanted.fields, wantedField{f.String(), ""})
		}
	}
	n.Drop("fields")
	if n.Get("_source").Raw == "false" || x.Params.Get("_source") == "false" {
		x.Params.Drop("_source")
		n.Set("_source", "true")
		wanted.hideSource = true
	}
	x.Note(fieldsNote+itoa(noted(x, askedSearchNote)), wanted)
	return nil
}

// fieldsFromSource puts the values of the wanted fields into a hit.
func fieldsFromSource(x *Exchange, n *Node) error {
	wanted, ok := x.Noted(fieldsNote + itoa(noted(x, answeredSearchNote))).(wantedFields)
	if !ok {
		return nil
	}
	var found object
	values := map[string][]string{}
	var order []string
	flatten(n.Get("_source"), "", func(name string, v gjson.Result) {
		if _, seen := values[name]; !seen {
			order = append(order, name)
		}
		values[name] = append(values[name], v.Raw)
	})
	for _, w := range wanted.fields {
		for _, name := range order {
			if matched, _ := path.Match(w.pattern, name); !matched {
				continue
			}
			if nested := wanted.nestedAbove(name); nested != "" {
				found.set(nested, nestedFields(n.Get("_source"), nested, w.pattern))
				continue
			}
			found.set(name, wanted.shownValues(name, w.format, values[name]))
		}
		if parent, _, ok := cutLast(w.pattern, "."); ok && len(values[parent]) > 0 && !strings.Contains(w.pattern, "*") {
			if _, isField := wanted.mappings.field(w.pattern); isField { // a multi-field
				found.set(w.pattern, wanted.shownValues(w.pattern, w.format, values[parent]))
			}
		}
	}
	found.addAll(n.Get("fields"))
	if found.len() > 0 {
		n.Set("fields", found.String())
	}
	if wanted.hideSource {
		n.Drop("_source")
	}
	return nil
}

// nestedAbove is the nested object that a field is in, "" if it is in none.
func (w wantedFields) nestedAbove(name string) string {
	for i, c := range name {
		if c == '.' {
			if f, ok := w.mappings.field(name[:i]); ok && f.Type == "nested" {
				return name[:i]
			}
		}
	}
	return ""
}

// nestedFields lists the nested objects with those of their fields that match a
// pattern.
func nestedFields(source gjson.Result, nested, pattern string) string {
	v := source
	for key := range strings.SplitSeq(nested, ".") {
		v = member(v, key)
	}
	objects := []gjson.Result{v}
	if v.IsArray() {
		objects = v.Array()
	}
	var list []string
	for _, o := range objects {
		values := map[string][]string{}
		var fields object
		flatten(o, "", func(name string, v gjson.Result) {
			if matched, _ := path.Match(pattern, nested+"."+name); matched {
				values[name] = append(values[name], v.Raw)
				fields.set(name, "["+strings.Join(values[name], ",")+"]")
			}
		})
		if fields.len() > 0 {
			list = append(list, fields.String())
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// flatten calls do for each value below v, with its field's full name.
func flatten(v gjson.Result, name string, do func(string, gjson.Result)) {
	switch {
	case v.IsObject():
		v.ForEach(func(k, inner gjson.Result) bool {
			full := k.String()
			if name != "" {
				full = name + "." + full
			}
			flatten(inner, full, do)
			return true
		})
	case v.IsArray():
		v.ForEach(func(_, inner gjson.Result) bool {
			flatten(inner, name, do)
			return true
		})
	case v.Exists() && v.Type != gjson.Null && name != "":
		do(name, v)
	}
}

// shownValues lists the values of a field; dates in the format that is asked
// for, or the mapping's.
func (w wantedFields) shownValues(name, format string, raw []string) string {
	f, ok := w.mappings.field(name)
	if !ok || f.Type != "date" {
		return "[" + strings.Join(raw, ",") + "]"
	}
	shown := make([]string, len(raw))
	for i, r := range raw {
		shown[i] = r
		v := gjson.Parse(r)
		if t, ok := readDate(v, f.Format); ok {
			shown[i] = translate.Quote(dateForm(orElse(format, f.Format)).show(t))
		}
	}
	return "[" + strings.Join(shown, ",") + "]"
}

// readDate reads a date of a source in the default format of mappings.
func readDate(v gjson.Result, format string) (time.Time, bool) {
	if v.Type == gjson.Number {
		return time.UnixMilli(v.Int()), format == "" || strings.Contains(format, "epoch_millis")
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, v.String()); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
