package cluster

import (
	"strings"
	"testing"
)

// What a bulk answers is believed only if each item is of the document that was sent.
func TestReadResults(t *testing.T) {
	ids := []string{"1", `a"b\c`, "ü\n"}
	var docs []Doc
	for _, id := range ids {
		docs = append(docs, Doc{DocID: DocID{Index: "books", ID: id}})
	}
	const good = `{"took":3,"errors":true,"items":[` +
		`{"index":{"_index":"books","_id":"1","_version":1,"_shards":{"total":1,"successful":1},"status":201}},` +
		`{"index":{"_index":"books","_id":"a\"b\\c","status":409,"error":{"type":"version_conflict_engine_exception","reason":"higher"}}},` +
		`{"delete":{"status":404,"_id":"\u00fc\n","result":"not_found"}}],"more":{"items":[1]}}`
	c := &Cluster{name: "b"}
	results, err := c.readResults(docs, []byte(good))
	if err != nil || len(results) != 3 || !results[0].OK() || results[1].Status != 409 || results[1].Type != "version_conflict_engine_exception" ||
		results[1].Reason != "higher" || !results[2].OK() || results[2].Status != 404 {
		t.Errorf("%+v %v", results, err)
	}
	for name, change := range map[string][2]string{
		"another document":      {`"_id":"1"`, `"_id":"2"`},
		"one that looks alike":  {`a\"b\\c`, `a\"b\c`},
		"no id":                 {`"_id":"1",`, ``},
		"one too few":           {`{"delete":{"status":404,"_id":"\u00fc\n","result":"not_found"}}`, `{}`},
		"one too many":          {`"more":{"items":[1]}`, `"items":[{"index":{"_id":"1","status":201}}]`},
		"one too many in a row": {`],"more"`, `,{"index":{"_id":"1","status":201}}],"more"`},
		"cut":                   {`"more":{"items":[1]}}`, ``},
		"no object":             {good, `[]`},
		"nothing":               {good, ``},
		"items that are none":   {good, `{"items":7}`},
	} {
		answer := strings.Replace(good, change[0], change[1], 1)
		if answer == good {
			t.Fatalf("%s changes nothing", name)
		}
		results, err := c.readResults(docs, []byte(answer))
		if name == "one too many" { // a key twice: the first counts
			if err != nil || len(results) != 3 {
				t.Errorf("%s: %+v %v", name, results, err)
			}
		} else if err == nil {
			t.Errorf("%s: %+v", name, results)
		}
	}
	for n := range good {
		if _, err := c.readResults(docs, []byte(good[:n])); err == nil {
			t.Errorf("believed: %s", good[:n])
		}
	}
}
