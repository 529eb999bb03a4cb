package speed

import (
	"fmt"
	"slices"
	"strings"
)

const (
	documentsPerBulk = 500
	hitsPerSearch    = 10
	searchGroups     = 100 // of ten documents each, which are what is read
)

// modes are what is asked for. The last one is documents, too, at a rate.
var modes = []string{"document", "bulk", "get", "search", "offered"}

func reads(mode string) bool { return mode == "get" || mode == "search" }

// A dialect is how clients of a version speak.
type dialect string

func (d dialect) typed() bool { return d < "7" }

func (d dialect) typ() string {
	if d.typed() {
		return "book"
	}
	return "_doc"
}

// index is the body that creates an index.
func (d dialect) index() string {
	mappings := `{"properties":{"n":{"type":"long"},"title":{"type":"text"},"text":{"type":"text"},"group":{"type":"keyword"},"code":{"type":"keyword"}}}`
	if d.typed() {
		mappings = fmt.Sprintf(`{%q:%s}`, d.typ(), mappings)
	}
	return `{"settings":{"number_of_shards":1,"number_of_replicas":0},"mappings":` + mappings + `}`
}

// action is the line of a bulk in front of a document.
func (d dialect) action(index, id string) string {
	typ := ""
	if d.typed() {
		typ = fmt.Sprintf(`,"_type":%q`, d.typ())
	}
	return fmt.Sprintf(`{"index":{"_index":%q%s,"_id":%q}}`, index, typ, id) + "\n"
}

// shot is what a mode sends.
func (d dialect) shot(mode, index string) *shot {
	one := fmt.Sprintf("/%s/%s/%s", index, d.typ(), slot)
	switch mode {
	case "document", "offered":
		return newShot("PUT", one, "application/json", document())
	case "bulk":
		s := newShot("POST", "/_bulk", "application/x-ndjson", strings.Repeat(d.action(index, slot)+document()+"\n", documentsPerBulk))
		s.must = `"errors":false`
		return s
	case "get":
		s := newShot("GET", one, "", "")
		s.wrap = searchGroups * hitsPerSearch
		s.must = `"found":true`
		return s
	case "search":
		s := newShot("POST", "/"+index+"/_search", "application/json", fmt.Sprintf(`{"query":{"term":{"group":"%s"}},"size":%d}`, slot, hitsPerSearch))
		s.wrap, s.mark, s.times = searchGroups, `"group":"`, hitsPerSearch
		return s
	}
	panic("no mode " + mode)
}

// stock is a bulk of what is read.
func (d dialect) stock(index string) string {
	var b strings.Builder
	for i := range searchGroups * hitsPerSearch {
		b.WriteString(d.action(index, fmt.Sprintf("%010d", i)))
		b.WriteString(searched(fmt.Sprintf("%010d", i/hitsPerSearch)))
		b.WriteByte('\n')
	}
	return b.String()
}

// words make the text of documents.
var words = strings.Fields(`the quick brown fox jumps over a lazy dog while seven wizards box with liquor jugs and my mother packs
	twelve dozen quartz vases for the next voyage of that old ship from the harbour of an island without any name`)

// document is one of 500 bytes, on one line.
func document() string {
	return filled(`{"n":12345,"title":"a document of some length","code":"c77","text":"`, 500)
}

// searched is one of 550 bytes, on one line, that a search for its group finds.
func searched(group string) string { return filled(`{"n":12345,"group":"`+group+`","text":"`, 550) }

// filled adds words and the end of an object.
func filled(b string, length int) string {
	text := strings.Join(slices.Repeat(words, 3), " ")
	return b + text[:length-len(b)-2] + `"}`
}
