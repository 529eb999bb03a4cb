package cluster_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// TestTypesAreAddedByTheClient: what adding a type changes at the cluster is sent
// with the credentials of the client that writes; what it may not do is not done
// with the gateway's.
func TestTypesAreAddedByTheClient(t *testing.T) {
	for _, how := range []translate.TypesSetting{translate.MergeTypes, translate.SplitTypes} {
		for client, may := range map[string]bool{"Basic admin": true, "Basic reader": false} {
			behind := &someIndices{version: "8.7.1", indices: map[string]string{
				"shop": `{"aliases":{},"mappings":{"_meta":{"esperanto":{"type":"book"}}},"settings":{"index":{}}}`}}
			var mu sync.Mutex
			var refused int
			c := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == http.MethodPut && r.Header.Get("Authorization") != "Basic admin" {
					refused++
					return 403, `{"error":{"root_cause":[],"type":"security_exception","reason":"action [` + r.Path + `] is unauthorized"},"status":403}`, nil
				}
				return behind.answer(r)
			}), cluster.Options{})
			next := sender(func(*esapi.Request) (int, string, error) {
				return 201, `{"_index":"shop","_id":"1","result":"created"}`, nil
			})
			s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), c.Facts(), next)
			r := esapi.NewRequest("PUT", "/shop/order/1", []byte(`{"n":1}`))
			r.Header.Set("Authorization", client)
			_, err := s.Send(translate.WithTypes(t.Context(), how), r)
			var e *esapi.Error
			if may && err != nil || !may && (!errors.As(err, &e) || e.Status != 403 || e.Type != "security_exception" || !strings.Contains(e.Reason, "unauthorized")) {
				t.Errorf("types %s, %s: %v", how, client, err)
			}
			f, _, err := c.Facts().Index(t.Context(), "shop")
			if err != nil || f.HasType("order") != may || (refused == 0) != may {
				t.Errorf("types %s, %s: the index is %+v, %v; %d were refused", how, client, f, err, refused)
			}
			c.Close()
		}
	}
}

// TestFirstTypeIsLeftToTheCluster: whoever may write, but not create or map, writes
// the documents of an index's first type as without the setting.
func TestFirstTypeIsLeftToTheCluster(t *testing.T) {
	for _, indices := range []map[string]string{{}, {"shop": `{"aliases":{},"mappings":{},"settings":{"index":{}}}`}} {
		behind := &someIndices{version: "8.7.1", indices: indices}
		c := cluster.New("c", sender(func(r *esapi.Request) (int, string, error) {
			if r.Method == http.MethodPut {
				return 403, `{"error":{"type":"security_exception","reason":"unauthorized"},"status":403}`, nil
			}
			return behind.answer(r)
		}), cluster.Options{})
		_, ok, err := c.Facts().AddType(t.Context(), "shop", "book", translate.MergeTypes)
		if ok || err != nil {
			t.Errorf("%v: %v, %v", indices, ok, err)
		}
		c.Close()
	}
}
