package catalogue_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// someItem is the result of an item of a bulk, as a version prints it or as nobody
// does.
func someItem(r *rand.Rand, v esapi.Version) string {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	op := one("index", "index", "create", "update", "delete")
	id := one(fmt.Sprint(r.IntN(100000)), fmt.Sprint(r.IntN(10)), "order#1", `a\"b`, "ö", "", "the id of an item, which is given", "728394615273849561", `\u0041`)
	members := []string{`"_index":"` + one("books", "books", "films", "b-728394615273849561") + `"`}
	if v.Before(esapi.V(8, 0)) {
		members = append(members, `"_type":"`+one("_doc", "book")+`"`)
	}
	members = append(members, `"_id":"`+id+`"`)
	if r.IntN(20) == 0 {
		members = append(members, `"_id":"again"`)
	}
	switch r.IntN(12) {
	case 0:
		members = append(members, `"status":`+one("400", "403", "409"), `"error":{"type":"`+one("index_closed_exception", "mapper_parsing_exception")+`","reason":"closed `+id+`"}`)
	default:
		members = append(members, `"_version":`+one("1", "1", "0", "-1", "2", fmt.Sprint(r.IntN(1000)), "519283746573829164", `"7"`), `"result":"`+one("created", "created", "updated", "noop", "deleted", "not_found")+`"`,
			`"_shards":{"total":2,"successful":1,"failed":0}`)
		if v.AtLeast(esapi.V(6, 0)) {
			members = append(members, `"_seq_no":`+one("0", "7", fmt.Sprint(r.IntN(1000)), "-2", "1e3"), `"_primary_term":`+one("1", "2"))
		}
		members = append(members, `"status":`+one("200", "201"))
		if r.IntN(15) == 0 {
			members = append(members, `"get":{"_seq_no":3,"_primary_term":1,"found":true,"_source":{"_id":"x","_version":9}}`)
		}
	}
	separator := ","
	if r.IntN(20) == 0 {
		separator = one(" ,", ", ", ",\n")
	}
	return `{"` + op + `":{` + strings.Join(members, separator) + `}}`
}

// TestItemsAlike: an item becomes the same beside others, which may be of its
// kind, as alone.
func TestItemsAlike(t *testing.T) {
	eachPair(func(client, cluster esapi.Version) {
		r := rand.New(rand.NewPCG(uint64(client.Major), uint64(cluster.Major)))
		items := []string{ // a repeated key is nobody's kind
			`{"index":{"_index":"b","_id":"1","_id":"1","_version":1,"result":"created","status":201}}`,
			`{"index":{"_index":"b","_id":"1","_id":"2","_version":1,"result":"created","status":201}}`,
		}
		for range 500 {
			item := someItem(r, cluster)
			for range 1 + r.IntN(2) {
				items = append(items, item)
			}
		}
		// All of them are more than the window, which moves over them.
		together := bulkItems(t, client, cluster, items...)
		if len(together) != len(items) {
			t.Fatalf("%v on %v: %d of %d items are shown", client, cluster, len(together), len(items))
		}
		for i, item := range items {
			if alone := bulkItems(t, client, cluster, item); alone[0] != together[i] {
				t.Fatalf("%v on %v: item %d\n%s\nis alone\n%s\nand beside others\n%s", client, cluster, i, item, alone[0], together[i])
			}
		}
	})
}

// bulkItems are the items of a bulk's answer as the client sees them.
func bulkItems(t *testing.T, client, cluster esapi.Version, items ...string) (shown []string) {
	t.Helper()
	stub := &stubCluster{t: t, answers: []part{{head: "200", body: `{"took":1,"errors":false,"items":[` + strings.Join(items, ",") + `]}`}}}
	s := translate.NewSender(client, cluster, nil, stub)
	got := roundTrip(t, s, t.Context(), esapi.NewRequest("POST", "/_bulk", []byte(`{"delete":{"_index":"books","_type":"book","_id":"1"}}`+"\n")))
	for _, item := range gjson.Get(got.body, "items").Array() {
		shown = append(shown, item.Raw)
	}
	return shown
}

// TestBrokenItemsAlike: a bulk's answer that breaks off does so for the client.
func TestBrokenItemsAlike(t *testing.T) {
	item := `{"index":{"_index":"b","_id":"1","_version":1,"result":"created","_shards":{"total":2},"_seq_no":7,"_primary_term":1,"status":201}}`
	body := `{"took":1,"errors":false,"items":[` + item + "," + item + "," + item
	for cut := len(body) - len(item) - 5; cut <= len(body); cut++ {
		stub := &stubCluster{t: t, answers: []part{{head: "200", body: body[:cut]}}}
		s := translate.NewSender(esapi.V(5, 6), esapi.V(8, 7), nil, stub)
		r := esapi.NewRequest("POST", "/_bulk", []byte(`{"delete":{"_index":"b","_type":"book","_id":"1"}}`+"\n"))
		if a, err := s.Send(t.Context(), r); err == nil {
			_ = a.Body.Close()
			t.Errorf("the answer is taken for whole: %s", body[:cut])
		}
	}
}
