package conformance

import (
	"regexp"
	"slices"
	"strings"
)

// typeless makes the suite of 8 of that of 7.10.2. The rule:
//
//   - left out are tests about types: those of files named so, those that ask
//     for include_type_name: true, and those that give a type other than _doc in
//     a path;
//   - include_type_name: false, the type _doc of paths, and _type in bodies are
//     taken away;
//   - so is _type in what is expected;
//   - deprecations of 8 that the tests cannot know are allowed (warnedBy8).
func typeless(s *suite) *suite {
	made := &suite{major: 8, apis: s.apis}
	for _, t := range s.tests {
		if aboutTypes.MatchString(t.file) || aboutTypes.MatchString(t.name) {
			continue
		}
		u := *t
		ok := true
		for _, part := range []*[]step{&u.setup, &u.steps, &u.teardown} {
			typed := false
			*part, typed = typelessSteps(*part)
			ok = ok && !typed
		}
		if ok {
			made.tests = append(made.tests, &u)
		}
	}
	return made
}

var aboutTypes = regexp.MustCompile(`(?i)with_?types|typeful|_types?\b|include_type_name|\btyped?\b.*\bAPI`)

// typelessSteps returns the steps without types, or that they need one.
func typelessSteps(steps []step) (made []step, typed bool) {
	for _, st := range steps {
		o, ok := st.arg.(*object)
		switch {
		case st.kind == "do" && ok:
			var needs bool
			st.arg, needs = typelessCall(o)
			typed = typed || needs
		case ok:
			o = withoutType(o).(*object)
			for _, path := range slices.Clone(o.keys) {
				if endsInType(path) {
					o = o.without(path)
				}
			}
			if len(o.keys) == 0 {
				continue
			}
			st.arg = o
		case st.kind == "is_true" || st.kind == "is_false":
			if path, ok := st.arg.(string); ok && endsInType(path) {
				continue
			}
		}
		made = append(made, st)
	}
	return made, typed
}

func endsInType(path string) bool { return path == "_type" || strings.HasSuffix(path, "._type") }

// warnedBy8 are the warnings of 8.7 about what was fine in 7.10.
var warnedBy8 = map[string]string{
	"indices.put_template": "Legacy index templates are deprecated in favor of composable templates.",
	"cluster.reroute": "The [state] field in the response to the reroute API is deprecated and will be removed in a future version. " +
		"Specify ?metric=none to adopt the future behaviour.",
}

func typelessCall(do *object) (made *object, typed bool) {
	made = newObject()
	for _, key := range do.keys {
		v := do.values[key]
		if warned := warnedBy8[key]; warned != "" {
			allowed, _ := do.values["allowed_warnings"].([]any)
			made.set("allowed_warnings", append(slices.Clone(allowed), warned))
		}
		args, ok := v.(*object)
		if !ok || key == "headers" || key == "node_selector" {
			if _, twice := made.get(key); !twice {
				made.set(key, v)
			}
			continue
		}
		call := newObject()
		for _, name := range args.keys {
			arg := args.values[name]
			switch name {
			case "include_type_name":
				typed = typed || javaText(arg) != "false"
			case "type":
				if strings.HasPrefix(key, "cat.") { // a parameter of another meaning
					call.set(name, arg)
				} else {
					typed = typed || javaText(arg) != "_doc"
				}
			case "body":
				call.set(name, withoutType(arg))
			default:
				call.set(name, arg)
			}
		}
		made.set(key, call)
	}
	return made, typed
}

// withoutType takes _type away at any depth, in the text of lines too.
func withoutType(v any) any {
	switch v := v.(type) {
	case *object:
		o := newObject()
		for _, k := range v.keys {
			if k != "_type" {
				o.set(k, withoutType(v.values[k]))
			}
		}
		return o
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = withoutType(e)
		}
		return list
	case string:
		return typeInText.ReplaceAllString(v, "$1")
	}
	return v
}

var typeInText = regexp.MustCompile(`(\{|,)\s*"_type"\s*:\s*"[^"]*"\s*,|()\s*,\s*"_type"\s*:\s*"[^"]*"`)

func (o *object) without(key string) *object {
	made := newObject()
	for _, k := range o.keys {
		if k != key {
			made.set(k, o.values[k])
		}
	}
	return made
}
