package translate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// What becomes of a search does not depend on whether rules are asked that can have nothing
// to do.
func TestSearchesWithAllRulesAsked(t *testing.T) {
	majors := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	pick := func(of ...string) string { return of[rand.IntN(len(of))] }
	field := func() string { return pick("title", "a", "_all", "_type", "_uid", "_field_names", "d") }
	text := func() string {
		return pick(`"x"`, `"book"`, `"book#1"`, `["x","y"]`, `1`, `true`, `{"query":"x","type":"phrase"}`, `{"value":"x"}`)
	}
	var query func(depth int) string
	query = func(depth int) string {
		if depth == 0 {
			clause := pick("match", "term", "terms", "in", "match_phrase", "match_bool_prefix", "prefix", "regexp", "wildcard", "fuzzy_match", "common", "span_term")
			return fmt.Sprintf(`{"%s":{"%s":%s}}`, clause, field(), text())
		}
		switch below := func() string { return query(rand.IntN(depth)) }; rand.IntN(12) {
		case 0:
			return `{}`
		case 1:
			return `{"type":{"value":"book"}}`
		case 2:
			return `{"exists":{"field":"` + field() + `"}}`
		case 3:
			return `{"indices":{"index":"books","query":` + below() + `,"no_match_query":"none"}}`
		case 4:
			return `{"constant_score":{"filter":` + below() + `}}`
		case 5:
			return `{"multi_match":{"query":"x","fields":["a"],"type":"` + pick("phrase", "bool_prefix") + `"}}`
		case 6:
			return pick(`{"match_all":{}}`, `{"mlt":{"fields":["a"],"like":"x"}}`, `{"ids":{"values":["1"]}}`, `{"match":{"a":"x"},"term":{"_uid":"book#1"}}`, `{"term":1}`, `[]`, `{"term"}`)
		}
		var parts []string
		for _, part := range []string{"must", "should", "filter", "must_not"} {
			if rand.IntN(2) == 0 {
				parts = append(parts, `"`+part+`":`+pick(query(depth-1), "["+query(depth-1)+","+query(depth-1)+"]"))
			}
		}
		return `{"bool":{` + strings.Join(append(parts, pick(`"boost":1`, `"disable_coord":true`, `"minimum_number_should_match":1`)), ",") + `}}`
	}
	for range 4000 {
		client, cluster := majors[rand.IntN(4)], majors[rand.IntN(4)]
		var members []string
		for _, m := range []string{`"size":` + pick("10", "-1", "-2", "0"), `"from":` + pick("0", "-1", "5"), `"terminate_after":` + pick("1", "-1"), `"sort":["_uid"]`,
			`"post_filter":` + query(1), `"indices_boost":{"books":2}`, `"fields":["a"]`, `"stored_fields":["a"]`, `"aggs":{"x":{"filter":` + query(1) + `}}`} {
			if rand.IntN(6) == 0 {
				members = append(members, m)
			}
		}
		body := "{" + strings.Join(append(members, `"query":`+query(3)), ",") + "}"
		path := pick("/books/_search", "/books/_search?size=5", "/books/_count", "/books/book/_search")
		send := func(f func(*translate.Sender, context.Context, *esapi.Request) (*esapi.Response, error)) string {
			c := &noting{}
			var fired []string
			s := translate.NewSender(client, cluster, oneType{}, c)
			s.OnFired = func(f translate.Fired) {
				for _, c := range f.Request {
					fired = append(fired, c.Name)
				}
			}
			_, err := f(s, t.Context(), esapi.NewRequest("POST", path, []byte(body)))
			return fmt.Sprintf("%q %v %v", c.sent, err, fired)
		}
		if got, want := send((*translate.Sender).Send), send((*translate.Sender).SendVisitingAll); got != want {
			t.Fatalf("%v on %v: %s %s\nbecomes\n%s\nnot\n%s", client, cluster, path, body, got, want)
		}
	}
}
