package cluster

import (
	"reflect"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

func TestRememberedDeletions(t *testing.T) {
	fake := estest.New(esapi.V(8, 7))
	c := New("a", fake, Options{})
	defer c.Close()
	at := func(id string) DocID { return DocID{Index: "books", ID: id} }
	odd := "current version [99] is higher or equal to the one provided [0]"
	results, err := c.WriteExternal(t.Context(), []Doc{
		{DocID: at("there"), Found: true, Version: 4, Source: []byte(`{}`)},
		{DocID: at("gone"), Version: 7},
		{DocID: at(odd), Version: 3},
	})
	if err != nil || !results[0].OK() || !results[1].OK() {
		t.Fatal(results, err)
	}
	got, err := c.Remembered(t.Context(), []DocID{at("there"), at("gone"), at(odd), at("never")})
	if want := []int64{4, 7, 3, 0}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
