package readiness

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

const (
	maxIndices = 8   // that a request of many lines is counted for
	scanLines  = 500 // of a body that are looked at for indices
)

// noIndex stands for the index of a request that names none.
const noIndex = "-"

// indicesOf are the index expressions that a request is about, as it names them:
// that of its path, and those of its lines or items.
func indicesOf(e esapi.Endpoint, body []byte) []string {
	var names []string
	add := func(name string) {
		if name != "" && len(names) < maxIndices && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch e.API {
	case "bulk":
		indicesOfBulk(body, add, e.Index)
	case "msearch", "msearch_template":
		lines := esapi.NewSearchBytes(body, esapi.V(8, 0))
		for range scanLines {
			s, err := lines.Next()
			if err != nil {
				break
			}
			header := gjson.ParseBytes(s.Header)
			index := header.Get("index")
			if !index.Exists() {
				index = header.Get("indices")
			}
			named := index.Array()
			for _, name := range named {
				add(name.String())
			}
			if len(named) == 0 {
				add(e.Index)
			}
		}
	case "mget", "mtermvectors":
		n := 0
		gjson.GetBytes(body, "docs").ForEach(func(_, item gjson.Result) bool {
			name := item.Get("_index").String()
			if name == "" {
				name = e.Index
			}
			add(name)
			n++
			return n < scanLines
		})
	case "indices.update_aliases":
		gjson.GetBytes(body, "actions").ForEach(func(_, action gjson.Result) bool {
			action.ForEach(func(_, spec gjson.Result) bool {
				add(spec.Get("index").String())
				return true
			})
			return len(names) < maxIndices
		})
	case "reindex":
		for _, name := range gjson.GetBytes(body, "source.index").Array() {
			add(name.String())
		}
		add(gjson.GetBytes(body, "dest.index").String())
	}
	if len(names) == 0 {
		add(e.Index)
	}
	if len(names) == 0 {
		add(noIndex)
	}
	return names
}

func indicesOfBulk(body []byte, add func(string), otherwise string) {
	document := false
	for n := 0; len(body) > 0 && n < scanLines; n++ {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte("\n"))
		if document {
			document = false
			continue
		}
		gjson.ParseBytes(line).ForEach(func(action, meta gjson.Result) bool {
			name := meta.Get("_index").String()
			if name == "" {
				name = otherwise
			}
			add(name)
			document = action.String() != "delete"
			return false
		})
	}
}
