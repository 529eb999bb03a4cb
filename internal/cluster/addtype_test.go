package cluster_test

import (
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

// aMapping is a cluster of 8.7.1 with one index at most, whose mapping grows.
type aMapping struct {
	mu      sync.Mutex
	exists  bool
	mapping string
}

func (m *aMapping) answer(r *esapi.Request) (int, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case r.Path == "/":
		return 200, `{"version":{"number":"8.7.1"}}`, nil
	case r.Method == "PUT" && r.Path == "/shop" && m.exists:
		return 400, `{"error":{"type":"resource_already_exists_exception","reason":"exists"},"status":400}`, nil
	case r.Method == "PUT" && r.Path == "/shop":
		m.exists = true
		return 200, `{"acknowledged":true}`, nil
	case r.Method == "PUT" && r.Path == "/shop/_mapping":
		body := gjson.ParseBytes(r.Body)
		if meta := body.Get("_meta"); meta.Exists() {
			m.mapping, _ = sjson.SetRaw(m.mapping, "_meta", meta.Raw)
		}
		body.Get("properties").ForEach(func(field, spec gjson.Result) bool {
			if field.Str != translate.TypesField {
				m.mapping, _ = sjson.SetRaw(m.mapping, "properties."+field.Str, spec.Raw)
				return true
			}
			spec.Get("properties").ForEach(func(t, object gjson.Result) bool {
				m.mapping, _ = sjson.SetRaw(m.mapping, "properties."+field.Str+".properties."+t.Str, object.Raw)
				return true
			})
			return true
		})
		return 200, `{"acknowledged":true}`, nil
	case !m.exists:
		return 404, `{"error":{"type":"index_not_found_exception","reason":"no such index [shop]","index":"shop"},"status":404}`, nil
	}
	return 200, `{"shop":{"aliases":{},"mappings":` + m.mapping + `,"settings":{"index":{"uuid":"u"}}}}`, nil
}

// TestAddTypes: types that are written to at the same time come to one index, of
// which one is the first, and a gateway that starts later knows them.
func TestAddTypes(t *testing.T) {
	behind := &aMapping{mapping: `{"_meta":{"own":1}}`}
	c := cluster.New("c", sender(behind.answer), cluster.Options{})
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f, ok, err := c.Facts().AddType(t.Context(), "shop", fmt.Sprintf("type.%d", i%4), translate.MergeTypes)
			if err != nil || !ok || !f.HasType(fmt.Sprintf("type.%d", i%4)) {
				t.Errorf("type %d: %+v, %v, %v", i, f, ok, err)
			}
		})
	}
	wg.Wait()
	later := cluster.New("c", sender(behind.answer), cluster.Options{})
	defer later.Close()
	f, ok, err := later.Facts().Index(t.Context(), "shop")
	all := append([]string{f.Type}, f.Further...)
	slices.Sort(all)
	if err != nil || !ok || strings.Join(all, " ") != "type.0 type.1 type.2 type.3" {
		t.Errorf("%q, %v, %v, from %s", all, ok, err, behind.mapping)
	}
	if !gjson.Get(behind.mapping, "_meta.own").Exists() {
		t.Errorf("the application's own _meta is gone: %s", behind.mapping)
	}
	for name := range f.Fields {
		t.Errorf("the field %s is shown", name)
	}
}
