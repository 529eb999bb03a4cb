package verify

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// maxDepth bounds how deep values are looked into. What lies deeper is compared
// by its text.
const maxDepth = 500

// Source reports whether two documents are the same JSON value, and if not, where
// they differ first, as a JSON pointer ("" is the document itself). Numbers are
// the same if their texts are: a cluster keeps them as they came. White space,
// the order of an object's keys and how a string is escaped do not count.
func Source(a, b []byte) (pointer string, same bool) {
	if bytes.Equal(a, b) {
		return "", true
	}
	return source(gjson.ParseBytes(a), gjson.ParseBytes(b), 0)
}

func source(a, b gjson.Result, depth int) (pointer string, same bool) {
	switch {
	case a.Raw == b.Raw:
		return "", true
	case a.Type != b.Type || depth > maxDepth:
		return "", false
	case a.Type == gjson.String:
		return "", a.Str == b.Str
	case a.Type != gjson.JSON || a.IsObject() != b.IsObject():
		return "", false // numbers, too: their texts differ
	case a.IsArray():
		return elements(a.Array(), b.Array(), depth)
	}
	left, right := membersOf(a), membersOf(b)
	for _, k := range left.keys {
		other, ok := right.values[k]
		if !ok {
			return step(k), false
		}
		if p, same := source(left.values[k], other, depth+1); !same {
			return step(k) + p, false
		}
	}
	for _, k := range right.keys {
		if _, ok := left.values[k]; !ok {
			return step(k), false
		}
	}
	return "", true
}

func elements(a, b []gjson.Result, depth int) (pointer string, same bool) {
	for i := range min(len(a), len(b)) {
		if p, same := source(a[i], b[i], depth+1); !same {
			return step(strconv.Itoa(i)) + p, false
		}
	}
	if len(a) != len(b) {
		return step(strconv.Itoa(min(len(a), len(b)))), false
	}
	return "", true
}

// step is one step of a JSON pointer.
func step(key string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// members are an object's. A key that comes twice is another key each time.
type members struct {
	keys   []string
	values map[string]gjson.Result
}

func membersOf(o gjson.Result) members {
	m := members{values: map[string]gjson.Result{}}
	o.ForEach(func(k, v gjson.Result) bool {
		key := k.String()
		for _, twice := m.values[key]; twice; _, twice = m.values[key] {
			key += "\x00"
		}
		m.keys = append(m.keys, key)
		m.values[key] = v
		return true
	})
	return m
}

// alike reports whether two values of a definition mean the same: clusters show
// booleans and numbers as text or not, and one value as a list or not.
func alike(a, b gjson.Result) bool {
	if a.Raw == b.Raw || (empty(a) && empty(b)) {
		return true
	}
	if a.IsObject() && b.IsObject() {
		left, right := membersOf(a), membersOf(b)
		for k, v := range left.values {
			if !alike(v, right.values[k]) {
				return false
			}
		}
		for k, v := range right.values {
			if _, ok := left.values[k]; !ok && !empty(v) {
				return false
			}
		}
		return true
	}
	if a.IsObject() || b.IsObject() {
		return false
	}
	if a.IsArray() || b.IsArray() {
		left, right := a.Array(), b.Array()
		if len(left) != len(right) {
			return false
		}
		for i := range left {
			if !alike(left[i], right[i]) {
				return false
			}
		}
		return true
	}
	return sameScalar(a.String(), b.String())
}

func sameScalar(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// empty reports whether a value says no more than its absence.
func empty(v gjson.Result) bool {
	return !v.Exists() || v.Type == gjson.Null || (v.IsObject() && len(v.Map()) == 0) || (v.IsArray() && len(v.Array()) == 0)
}
