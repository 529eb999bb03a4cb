package esapi

import "github.com/tidwall/gjson"

// KeysOnce leaves the last of repeated keys in each object of a JSON text, and no white
// space. What is not JSON stays as it is.
func KeysOnce(text []byte) []byte {
	if !ValidJSON(text) {
		return text
	}
	return appendOnce(make([]byte, 0, len(text)), gjson.ParseBytes(text), 0)
}

// maxOnce is down to which depth repeated keys are looked for.
const maxOnce = 200

// appendOnce appends a value, each key of its objects once.
func appendOnce(dst []byte, v gjson.Result, depth int) []byte {
	if !v.IsObject() && !v.IsArray() || depth > maxOnce {
		return append(dst, v.Raw...)
	}
	if v.IsArray() {
		dst = append(dst, '[')
		first := true
		v.ForEach(func(_, e gjson.Result) bool {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = appendOnce(dst, e, depth+1)
			return true
		})
		return append(dst, ']')
	}
	last := map[string]int{}
	i := 0
	v.ForEach(func(k, _ gjson.Result) bool {
		last[k.String()] = i
		i++
		return true
	})
	dst = append(dst, '{')
	i = 0
	first := true
	v.ForEach(func(k, m gjson.Result) bool {
		if last[k.String()] == i {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(append(dst, k.Raw...), ':')
			dst = appendOnce(dst, m, depth+1)
		}
		i++
		return true
	})
	return append(dst, '}')
}
