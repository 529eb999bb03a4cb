package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// maxFindings bounds the differences that are told of one thing.
const maxFindings = 20

// Mapping tells what a follower's mapping lacks of the master's, and which fields
// it treats in another way. Both are in the follower's dialect, without the name
// of a type. Fields that only the follower has are no difference.
func Mapping(master, follower gjson.Result) []string {
	var f findings
	f.node("", master, follower, 0)
	return f.list
}

type findings struct{ list []string }

func (f *findings) add(format string, args ...any) {
	if len(f.list) < maxFindings {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	}
}

// node compares the mapping of a field, or with path "" of the whole.
func (f *findings) node(path string, master, follower gjson.Result, depth int) {
	if depth > maxDepth {
		return
	}
	typ, have := typeOf(master), typeOf(follower)
	if typ != have && path != "" {
		f.add("field %s is %s, at the follower %s", path, typ, have)
		return
	}
	left, right := membersOf(master), membersOf(follower)
	for _, key := range slices.Concat(left.keys, right.keys) {
		f.parameter(path, typ, key, left, right)
	}
	for _, group := range []string{"properties", "fields"} {
		fields := membersOf(right.values[group])
		left.values[group].ForEach(func(name, field gjson.Result) bool {
			at := join(path, name.String())
			if other, ok := fields.values[name.String()]; ok {
				f.node(at, field, other, depth+1)
			} else {
				f.add("field %s (%s) is missing at the follower", at, typeOf(field))
			}
			return len(f.list) < maxFindings
		})
	}
}

// parameter compares one parameter of a field. It is called for those of both
// sides, and tells a difference once.
func (f *findings) parameter(path, typ, key string, left, right members) {
	a, b := left.values[key], right.values[key]
	switch key {
	case "properties", "fields", "type":
		return
	case "_meta":
		a, b = withoutReminder(a), withoutReminder(b)
	}
	if typ == "dense_vector" && key != "dims" {
		return // later versions show what they have chosen
	}
	if alike(a, b) || (!b.Exists() && isDefault(path, typ, key, a)) || (!a.Exists() && isDefault(path, typ, key, b)) {
		return
	}
	text := fmt.Sprintf("%s is %s, at the follower %s", join(path, key), shown(a), shown(b))
	if !slices.Contains(f.list, text) {
		f.add("%s", text)
	}
}

func withoutReminder(meta gjson.Result) gjson.Result {
	if !meta.Get("esperanto").Exists() {
		return meta
	}
	kept := []string{}
	meta.ForEach(func(k, v gjson.Result) bool {
		if k.String() != "esperanto" {
			kept = append(kept, k.Raw+":"+v.Raw)
		}
		return true
	})
	return gjson.Parse("{" + strings.Join(kept, ",") + "}")
}

func typeOf(field gjson.Result) string {
	if t := field.Get("type"); t.Type == gjson.String {
		return t.Str
	}
	return "object"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

const maxShown = 200

func shown(v gjson.Result) string {
	switch {
	case !v.Exists():
		return "not set"
	case len(v.Raw) > maxShown:
		return strings.ToValidUTF8(v.Raw[:maxShown], "") + "…"
	}
	return v.Raw
}

// defaults are the values that a parameter has where it is not shown, by its name
// or by the type of the field and its name.
var defaults = map[string][]string{
	"boost": {"1"}, "coerce": {"true"}, "doc_values": {"true"}, "eager_global_ordinals": {"false"}, "enabled": {"true"}, "fielddata": {"false"},
	"format": {"strict_date_optional_time||epoch_millis"}, "ignore_above": {"2147483647"}, "ignore_malformed": {"false"}, "ignore_z_value": {"true"},
	"include_in_all": {"true"}, "include_in_parent": {"false"}, "include_in_root": {"false"}, "index": {"true"}, "locale": {"", "ROOT", "und"},
	"position_increment_gap": {"100", "-1"}, "similarity": {"BM25"}, "split_queries_on_whitespace": {"false"}, "store": {"false"},
	"analyzer": {"default"}, "search_analyzer": {"default"}, "search_quote_analyzer": {"default"}, "time_series_dimension": {"false"},
	"date_detection": {"true"}, "numeric_detection": {"false"},
	"text.norms": {"true"}, "text.index_options": {"positions"}, "keyword.norms": {"false"}, "keyword.index_options": {"docs"},
	"join.eager_global_ordinals": {"true"},
}

func isDefault(path, typ, key string, v gjson.Result) bool {
	if empty(v) {
		return true
	}
	if key == "dynamic" {
		return path == "" && v.String() == "true" // a field's own comes from its parent
	}
	if key == "_source" || key == "_routing" || key == "_all" || key == "_field_names" || key == "_size" {
		// Objects of one switch each.
		switch key {
		case "_source", "_field_names", "_all":
			return v.Raw == `{"enabled":true}` || v.Raw == `{}`
		}
		return v.Raw == `{"required":false}` || v.Raw == `{"enabled":false}`
	}
	allowed, ok := defaults[typ+"."+key]
	if !ok {
		allowed = defaults[key]
	}
	return slices.ContainsFunc(allowed, func(d string) bool { return sameScalar(d, v.String()) })
}
