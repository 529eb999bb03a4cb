package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Definition tells where two definitions of a template, a pipeline or a script
// differ. Both are in the follower's dialect; typed says that its mappings have
// the names of types.
func Definition(master, follower gjson.Result, typed bool) []string {
	var f findings
	f.definition("", master, follower, typed)
	return f.list
}

func (f *findings) definition(path string, master, follower gjson.Result, typed bool) {
	left, right := membersOf(master), membersOf(follower)
	done := map[string]bool{}
	for _, key := range append(left.keys, right.keys...) {
		a, b, at := left.values[key], right.values[key], join(path, key)
		if done[key] {
			continue
		}
		done[key] = true
		switch {
		case key == "template" && a.IsObject() && b.IsObject():
			f.definition(at, a, b, typed)
		case key == "mappings":
			f.mappings(a, b, typed)
		case key == "aliases":
			f.aliases(at, a, b)
		case key == "settings":
			f.settings(at, a, b)
		case !alike(a, b) && !(key == "order" && neutral(a) && neutral(b)):
			f.add("%s is %s, at the follower %s", at, shown(a), shown(b))
		}
	}
}

// neutral is an order that is not given.
func neutral(v gjson.Result) bool { return !v.Exists() || v.Int() == 0 }

// mappings compares those of a template, in both directions: what the follower
// has more would get into new indices.
func (f *findings) mappings(a, b gjson.Result, typed bool) {
	both := func(a, b gjson.Result) {
		lacks := Mapping(a, b)
		for _, text := range lacks {
			f.add("mapping: %s", text)
		}
		if len(lacks) > 0 {
			return
		}
		for _, text := range Mapping(b, a) {
			f.add("mapping of the follower: %s", strings.Replace(text, "at the follower", "at the master", 1))
		}
	}
	if !typed {
		both(a, b)
		return
	}
	left, right := membersOf(a), membersOf(b)
	for _, typ := range left.keys {
		both(left.values[typ], right.values[typ])
	}
	for _, typ := range right.keys {
		if _, ok := left.values[typ]; !ok && !empty(right.values[typ]) {
			f.add("mapping: type %s is only at the follower", typ)
		}
	}
}

func (f *findings) settings(path string, a, b gjson.Result) {
	left, right := flat(a), flat(b)
	for _, key := range slices.Sorted(maps.Keys(left)) {
		if v := left[key]; !alike(v, right[key]) {
			f.add("%s is %s, at the follower %s", join(path, key), shown(v), shown(right[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(right)) {
		v := right[key]
		if _, ok := left[key]; !ok && !empty(v) {
			f.add("%s is not set, at the follower %s", join(path, key), shown(v))
		}
	}
}

// flat are settings by their full names, without "index.".
func flat(settings gjson.Result) map[string]gjson.Result {
	all := map[string]gjson.Result{}
	Flatten(settings, func(key string, v gjson.Result) {
		all[strings.TrimPrefix(key, "index.")] = v
	})
	return all
}

// Flatten calls f for each setting with its full name. Lists and empty objects
// are values.
func Flatten(settings gjson.Result, f func(key string, v gjson.Result)) {
	flatten("", settings, f, 0)
}

func flatten(prefix string, o gjson.Result, f func(key string, v gjson.Result), depth int) {
	o.ForEach(func(k, v gjson.Result) bool {
		if v.IsObject() && !empty(v) && depth < maxDepth {
			flatten(prefix+k.String()+".", v, f, depth+1)
		} else {
			f(prefix+k.String(), v)
		}
		return true
	})
}

func (f *findings) aliases(path string, a, b gjson.Result) {
	left, right := membersOf(a), membersOf(b)
	for _, name := range left.keys {
		if there, ok := right.values[name]; !ok {
			f.add("%s %s is missing at the follower", path, name)
		} else if why := Alias(left.values[name], there); why != "" {
			f.add("%s %s: %s", path, name, why)
		}
	}
	for _, name := range right.keys {
		if _, ok := left.values[name]; !ok {
			f.add("%s %s is only at the follower", path, name)
		}
	}
}

// Alias tells where an alias differs, "" if it does not.
func Alias(master, follower gjson.Result) string {
	left, right := membersOf(master), membersOf(follower)
	for _, key := range append(left.keys, right.keys...) {
		a, b := left.values[key], right.values[key]
		if alike(a, b) || (neutralFlag(a) && neutralFlag(b)) {
			continue
		}
		return fmt.Sprintf("%s is %s, at the follower %s", key, shown(a), shown(b))
	}
	return ""
}

// neutralFlag is a switch that is off, or not shown.
func neutralFlag(v gjson.Result) bool { return !v.Exists() || v.Raw == "false" }

// Setting reports whether two values of a setting are the same.
func Setting(a, b gjson.Result) bool { return alike(a, b) }
