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
	if want := []Tombstone{{Version: 4}, {Version: 7}, {Version: 3}, {}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// One document of which the cluster does not tell keeps no other one from being looked at.
func TestRememberedUntold(t *testing.T) {
	c := New("a", nil, Options{})
	defer c.Close()
	for _, one := range []struct {
		r            Result
		shut, passes bool
		untold       bool
	}{
		{r: Result{400, "routing_missing_exception", "routing is required for [books]/[_doc]/[1]"}},
		{r: Result{403, "cluster_block_exception", "index [books] blocked by: [FORBIDDEN/8/index write (api)];"}, shut: true, untold: true},
		{r: Result{403, "cluster_block_exception", "blocked by: [FORBIDDEN/5/index read-only (api)];"}, shut: true, untold: true},
		{r: Result{403, "cluster_block_exception", "blocked by: [FORBIDDEN/4/index closed];"}, shut: true, untold: true},
		{r: Result{400, "index_closed_exception", "closed"}, shut: true, untold: true},
		{r: Result{400, "illegal_argument_exception", "no"}, untold: true},
		{r: Result{403, "cluster_block_exception", "blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];"}, passes: true},
		{r: Result{429, "cluster_block_exception", "index [books] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"}, passes: true},
		{r: Result{403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)];"}, passes: true},
		{r: Result{503, "unavailable_shards_exception", "[books][0] primary shard is not active"}, passes: true},
		{r: Result{403, "security_exception", "no"}, passes: true},
		{r: Result{404, "index_not_found_exception", "no such index"}, passes: true},
	} {
		got, err := c.tombstone(one.r)
		if (err != nil) != one.passes || (got.Untold != "") != one.untold || got.Shut != one.shut || one.r.Shut() != one.shut {
			t.Errorf("%+v: %+v, %v", one.r, got, err)
		}
	}
}
