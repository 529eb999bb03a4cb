package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// someIndices is a cluster that keeps what its indices were created with.
type someIndices struct {
	version string
	mu      sync.Mutex
	indices map[string]string // as GET /{index} shows them, without the name
}

func (m *someIndices) answer(r *esapi.Request) (int, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Path == "/" {
		return 200, `{"version":{"number":"` + m.version + `"}}`, nil
	}
	name, mapping, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/_mapping")
	if name, ok := strings.CutSuffix(name, "/_count"); ok {
		return 200, fmt.Sprintf(`{"count":%d,"_shards":{"total":1,"successful":1,"failed":0}}`, gjson.Get(m.indices[name], "documents").Int()), nil
	} else if strings.HasSuffix(r.Path, "/_refresh") || strings.HasPrefix(r.Path, "/_cluster/health/") {
		return 200, `{}`, nil
	}
	index, exists := m.indices[name]
	switch {
	case r.Method == "PUT" && !strings.Contains(r.Path, "_mapping"):
		if exists {
			return 400, `{"error":{"type":"resource_already_exists_exception","reason":"exists"},"status":400}`, nil
		}
		index = `{"aliases":{},"mappings":{},"settings":{"index":{}}}`
		for _, part := range []string{"aliases", "mappings", "settings"} {
			if v := gjson.GetBytes(r.Body, part); v.Exists() {
				index, _ = sjson.SetRaw(index, part, v.Raw)
			}
		}
		m.indices[name] = index
		return 200, `{"acknowledged":true}`, nil
	case !exists:
		return 404, `{"error":{"type":"index_not_found_exception","reason":"no such index [` + name + `]"},"status":404}`, nil
	case r.Method == "PUT":
		mappings := gjson.Get(index, "mappings")
		merged := merge(mappings, gjson.ParseBytes(r.Body))
		if t := strings.TrimPrefix(mapping, "/"); t != "" { // of a cluster with types
			merged, _ = sjson.SetRaw(mappings.Raw, t, merge(mappings.Get(t), gjson.ParseBytes(r.Body)))
		}
		m.indices[name], _ = sjson.SetRaw(index, "mappings", merged)
		return 200, `{"acknowledged":true}`, nil
	case r.Path == "/"+name+"/_mapping":
		return 200, `{"` + name + `":{"mappings":` + gjson.Get(index, "mappings").Raw + `}}`, nil
	}
	if r.Params.Has("include_type_name") {
		index, _ = sjson.SetRaw(index, "mappings", `{"_doc":`+gjson.Get(index, "mappings").Raw+`}`)
	}
	return 200, `{"` + name + `":` + index + `}`, nil
}

// merge puts the members of one object into another, and so below.
func merge(into, from gjson.Result) string {
	raw := into.Raw
	if !into.IsObject() {
		raw = "{}"
	}
	from.ForEach(func(key, v gjson.Result) bool {
		value := v.Raw
		path := gjson.Escape(key.String())
		if v.IsObject() {
			value = merge(gjson.Get(raw, path), v)
		}
		raw, _ = sjson.SetRaw(raw, path, value)
		return true
	})
	return raw
}

// TestSplitTypes: types that are written to at the same time get an index each,
// with the settings and aliases of the first, and a gateway that starts later
// knows which index is whose.
func TestSplitTypes(t *testing.T) {
	for _, version := range []string{"6.8.23", "7.17.28", "8.7.1"} {
		first := `{"_meta":{"esperanto":{"type":"first"}}}`
		if version == "6.8.23" {
			first = `{"first":{}}`
		}
		behind := &someIndices{version: version, indices: map[string]string{
			"shop.v1": `{"aliases":{"store":{"filter":{"term":{"n":1}},"is_write_index":true}},"mappings":` + first + `,"settings":{"index":{"uuid":"u","creation_date":"1",
				"provided_name":"shop.v1","version":{"created":"1"},"number_of_shards":"3","analysis":{"analyzer":{"a":{"type":"keyword"}}}}}}`}}
		c := cluster.New("c", sender(behind.answer), cluster.Options{})
		defer c.Close()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				mappingType := fmt.Sprintf("Type.%d", i%3)
				f, ok, err := c.Facts().AddType(t.Context(), "shop.v1", mappingType, translate.SplitTypes)
				if err != nil || !ok || !f.HasType(mappingType) || f.Type != "first" {
					t.Errorf("%s: type %d: %+v, %v, %v", version, i, f, ok, err)
				}
			})
		}
		wg.Wait()
		later := cluster.New("c", sender(behind.answer), cluster.Options{})
		defer later.Close()
		f, _, err := later.Facts().Index(t.Context(), "shop.v1")
		if err != nil || !slices.Equal(f.Apart, []string{"Type.0", "Type.1", "Type.2"}) || f.Further != nil {
			t.Errorf("%s: %+v, %v, from %v", version, f, err, behind.indices)
		}
		index, id := f.On("Type.1", "7")
		own, ok, err := later.Facts().Index(t.Context(), index)
		if err != nil || !ok || index != "shop.v1-type.1" {
			t.Fatalf("%s: %s, %v, %v", version, index, ok, err)
		}
		if as, mappingType, shown := own.Shown(id); as != "shop.v1" || mappingType != "Type.1" || shown != "7" {
			t.Errorf("%s: the document is shown as %s/%s/%s", version, as, mappingType, shown)
		}
		created := gjson.Parse(behind.indices[index])
		var settings any
		_ = json.Unmarshal([]byte(created.Get("settings").Raw), &settings)
		if got := fmt.Sprint(settings); got != "map[index:map[analysis:map[analyzer:map[a:map[type:keyword]]] number_of_shards:3]]" {
			t.Errorf("%s: settings %s", version, got)
		}
		if got := created.Get("aliases").Raw; got != `{"store":{"filter":{"term":{"n":1}}}}` {
			t.Errorf("%s: aliases %s", version, got)
		}
	}
}

// TestNamesOfSplitTypes: a name that is taken, or is none, is said before
// anything is created.
func TestNamesOfSplitTypes(t *testing.T) {
	behind := &someIndices{version: "8.7.1", indices: map[string]string{
		"shop":       `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`,
		"shop-order": `{"aliases":{},"mappings":{"properties":{"n":{"type":"long"}}},"settings":{"index":{}}}`,
	}}
	c := cluster.New("c", sender(behind.answer), cluster.Options{})
	defer c.Close()
	for mappingType, why := range map[string]string{
		"order":                  "there is an index or alias [shop-order] that holds something else",
		"Order":                  "there is an index or alias [shop-order] that holds something else",
		"a*":                     "[shop-a*] cannot be an index's name",
		"a b":                    "[shop-a b] cannot be an index's name",
		strings.Repeat("x", 255): "cannot be an index's name",
	} {
		_, _, err := c.Facts().AddType(t.Context(), "shop", mappingType, translate.SplitTypes)
		var refused *esapi.Error
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, why) {
			t.Errorf("%s: %v", mappingType, err)
		}
	}
	if len(behind.indices) != 2 || strings.Contains(behind.indices["shop"], translate.ApartField) {
		t.Errorf("left behind: %v", behind.indices)
	}
}

// TestAliasesOfTypesAreNotCopied: a filter that was made for the types of one index
// would show all of another's documents.
func TestAliasesOfTypesAreNotCopied(t *testing.T) {
	behind := &someIndices{version: "8.7.1", indices: map[string]string{
		"shop": `{"aliases":{"products":{"filter":{"bool":{"filter":[{"match_all":{"boost":1}}],"must_not":[{"term":{"esperanto_sent":{"value":"{}"}}}]}}}},
			"mappings":{"_meta":{"esperanto":{"type":"product"}}},"settings":{"index":{}}}`,
	}}
	c := cluster.New("c", sender(behind.answer), cluster.Options{})
	defer c.Close()
	_, _, err := c.Facts().AddType(t.Context(), "shop", "order", translate.SplitTypes)
	var refused *esapi.Error
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "its alias [products] filters by a type") || !strings.Contains(refused.Reason, "types merge") {
		t.Errorf("refused with %v", err)
	}
	if len(behind.indices) != 1 || strings.Contains(behind.indices["shop"], translate.ApartField) {
		t.Errorf("left behind: %v", behind.indices)
	}
}

// TestAnotherMakesTheIndexMeanwhile: what is there when the index is to be created
// is taken only if it holds that type.
func TestAnotherMakesTheIndexMeanwhile(t *testing.T) {
	for theirs, fine := range map[string]bool{
		`{"properties":{"n":{"type":"long"}}}`:                               false,
		`{"properties":{` + translate.PartOfProperty("shop", "ORDER") + `}}`: false,
		`{"properties":{` + translate.PartOfProperty("shop", "order") + `}}`: true,
	} {
		behind := &someIndices{version: "8.7.1", indices: map[string]string{
			"shop": `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`,
		}}
		answer := func(r *esapi.Request) (int, string, error) {
			if r.Method == "PUT" && r.Path == "/shop-order" {
				behind.mu.Lock()
				behind.indices["shop-order"] = `{"aliases":{},"mappings":` + theirs + `,"settings":{"index":{}}}`
				behind.mu.Unlock()
			}
			return behind.answer(r)
		}
		c := cluster.New("c", sender(answer), cluster.Options{})
		_, _, err := c.Facts().AddType(t.Context(), "shop", "order", translate.SplitTypes)
		var refused *esapi.Error
		if fine && err != nil || !fine && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, "holds something else")) {
			t.Errorf("%s: %v", theirs, err)
		}
		if marked := strings.Contains(behind.indices["shop"], translate.ApartField); marked != fine {
			t.Errorf("%s: left behind: %v", theirs, behind.indices)
		}
		c.Close()
	}
}

// TestOldIndexOfAType: an index of a type that was left behind by one of the same
// name does not become part of the new one with its documents; one that a gateway
// has made and not yet marked is taken.
func TestOldIndexOfAType(t *testing.T) {
	for documents, fine := range map[string]bool{"3": false, "0": true} {
		behind := &someIndices{version: "8.7.1", indices: map[string]string{
			"shop": `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`,
			"shop-order": `{"aliases":{},"documents":` + documents + `,"mappings":{"_meta":{"esperanto":{"type":"order"}},
				"properties":{` + translate.PartOfProperty("shop", "order") + `}},"settings":{"index":{}}}`,
		}}
		c := cluster.New("c", sender(behind.answer), cluster.Options{})
		_, _, err := c.Facts().AddType(t.Context(), "shop", "order", translate.SplitTypes)
		var refused *esapi.Error
		if fine && err != nil || !fine && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, "delete [shop-order]")) {
			t.Errorf("%s documents: %v", documents, err)
		}
		if marked := strings.Contains(behind.indices["shop"], translate.ApartField); marked != fine {
			t.Errorf("%s documents: left behind: %v", documents, behind.indices)
		}
		c.Close()
	}
}

// TestAliasOfSeveral: an alias stands for several indices if the application knows
// several: those of further types do not count.
func TestAliasOfSeveral(t *testing.T) {
	part := func(index, mappingType string) string {
		return `{` + translate.PartOfProperty(index, mappingType) + `}`
	}
	member := func(alias, properties string) string {
		return `{"aliases":{"all":` + alias + `},"mappings":{"properties":` + properties + `},"settings":{"index":{}}}`
	}
	for answer, want := range map[string]string{
		`{"shop":` + member(`{}`, `{}`) + `,"shop-order":` + member(`{}`, part("shop", "order")) + `}`:                                    "shop []",
		`{"shop-order":` + member(`{}`, part("shop", "order")) + `,"shop":` + member(`{}`, `{}`) + `}`:                                    "shop []",
		`{"b":` + member(`{}`, `{}`) + `,"a":` + member(`{}`, `{}`) + `}`:                                                                 "a [a b]",
		`{"a-x":` + member(`{}`, part("a", "x")) + `,"c":` + member(`{}`, `{}`) + `,"a":` + member(`{}`, `{}`) + `}`:                      "a [a c]",
		`{"a":` + member(`{}`, `{}`) + `,"c":` + member(`{"is_write_index":true}`, `{}`) + `,"b":` + member(`{}`, `{}`) + `}`:             "c [a b c] written",
		`{"c":` + member(`{"is_write_index":true}`, `{}`) + `,"c-x":` + member(`{}`, part("c", "x")) + `,"b":` + member(`{}`, `{}`) + `}`: "c [b c] written",
	} {
		c := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
			if r.Path == "/" {
				return 200, `{"version":{"number":"8.7.1"}}`, nil
			}
			return 200, answer, nil
		}), cluster.Options{})
		f, _, err := c.Facts().Index(t.Context(), "all")
		got := fmt.Sprint(f.Name, " ", f.AliasOf)
		if f.WriteIndex {
			got += " written"
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; wanted %s", answer, got, err, want)
		}
		c.Close()
	}
}

// TestCopiesAreNoParts: what is copied with its mapping under another name is an
// index of one type, neither a part nor a whole.
func TestCopiesAreNoParts(t *testing.T) {
	behind := &someIndices{version: "8.7.1", indices: map[string]string{
		"shop":    `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`,
		"shop.v1": `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`,
	}}
	c := cluster.New("c", sender(behind.answer), cluster.Options{})
	defer c.Close()
	for _, index := range []string{"shop", "shop.v1"} {
		if _, _, err := c.Facts().AddType(t.Context(), index, "order", translate.SplitTypes); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{index, index + "-order"} {
			behind.indices["old_"+name] = behind.indices[name]
		}
	}
	for name, want := range map[string]string{
		"shop": "book [order] ", "shop-order": "order [] shop", "shop.v1": "book [order] ", "shop.v1-order": "order [] shop.v1",
		"old_shop": "book [] ", "old_shop-order": "order [] ", "old_shop.v1": "book [] ", "old_shop.v1-order": "order [] ",
	} {
		f, _, err := c.Facts().Index(t.Context(), name)
		if got := fmt.Sprint(f.Type, " ", f.Apart, " ", f.PartOf); err != nil || got != want {
			t.Errorf("%s is %q, %v; wanted %q", name, got, err, want)
		}
	}
	_, _, err := c.Facts().AddType(t.Context(), "old_shop", "order", translate.SplitTypes)
	var refused *esapi.Error
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "holds something else") {
		t.Errorf("a type of the copy: %v", err)
	}
}
