package translate_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

// saying answers every request with the same body.
type saying struct {
	body  string
	sized bool // its length is told
}

func (c saying) Send(context.Context, *esapi.Request) (*esapi.Response, error) {
	a := esapi.NewResponse(http.StatusOK, []byte(c.body))
	if !c.sized {
		a.Header.Del("Content-Length")
	}
	return a, nil
}

// What is taken from a hit in front is what the rules make of a hit.
func TestAlikeHits(t *testing.T) {
	majors := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	pick := func(of ...string) string { return of[rand.IntN(len(of))] }
	source := func() string {
		long := ""
		if rand.IntN(20) == 0 {
			long = strings.Repeat("long ", rand.IntN(30_000))
		}
		return pick(`{}`, `{"a":true}`, `{"a":[1,{"b":"}"}],"d":"2020-01-01","long":"`+long+`"}`, `{"a\\u0062":"\\"","_id":"1"}`, `null`, `{"join":{"name":"x"}}`, `{ "a" : 1 }`)
	}
	hit := func(i int, extra string) string {
		h := fmt.Sprintf(`{"_index":"%s"%s,"_id":%s,"_score":%s`, pick("books", "books", "books", "films"), pick("", "", "", `,"_type":"_doc"`, `,"_type":"book"`),
			pick(fmt.Sprintf("\"%d\"", i), `"1"`, `"a\\"b"`, `"book#1"`, `""`), pick("1.0", "0.5", "null", "0.0", "1.0E-7"))
		if rand.IntN(10) > 0 {
			h += `,"_source":` + source()
		}
		return h + strings.ReplaceAll(extra, "N", fmt.Sprint(i)) + "}"
	}
	requests := []string{`{"query":{"match_all":{}}}`, `{"sort":["_id"]}`, `{"sort":["_uid"],"version":true}`, `{"docvalue_fields":["d"]}`, `{"fields":["a","d"]}`,
		`{"query":{"percolate":{"field":"q","document":{"a":1}}}}`, `{"seq_no_primary_term":true}`,
		`{"query":{"nested":{"path":"a","query":{"match_all":{}},"inner_hits":{"_source":["a.b"]}}}}`, `{"stored_fields":["_none_"]}`}
	for range 1000 {
		client, cluster := majors[rand.IntN(4)], majors[rand.IntN(4)]
		if client == cluster {
			continue
		}
		search := func() string {
			extra := pick("", "", `,"sort":[N,"N"]`, `,"sort":["book#N"]`, `,"_version":N`, `,"_seq_no":N,"_primary_term":1`, `,"fields":{"d":["N"],"_percolator_document_slot":[0]}`,
				`,"_ignored":["a"]`, `,"_nested":{"field":"a","offset":0}`, `,"inner_hits":{"x":{"hits":{"total":{"value":1,"relation":"eq"},"hits":[{"_index":"books","_id":"N","_source":{}}]}}}`,
				`,"highlight":{"a":["N"]}`, `,"_parent":"N"`, `,"_routing":"N"`)
			var hits []string
			for i := range rand.IntN(25) {
				if rand.IntN(8) == 0 {
					extra = pick("", extra, `,"x":N`)
				}
				hits = append(hits, hit(i, extra))
			}
			return `{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"total":{"value":3,"relation":"eq"},"max_score":1.0,"hits":[` + strings.Join(hits, pick(",", ",", " , ", ",\n")) + `]}}`
		}
		path, body, answer := "/books/_search", requests[rand.IntN(len(requests))], search()
		if rand.IntN(3) == 0 {
			path, body = "/_msearch", ""
			var answers []string
			for range 1 + rand.IntN(4) {
				body += `{"index":"books"}` + "\n" + requests[rand.IntN(len(requests))] + "\n"
				answers = append(answers, search())
			}
			answer = `{"took":1,"responses":[` + strings.Join(answers, ",") + `]}`
		}
		if rand.IntN(30) == 0 && len(answer) > 0 {
			answer = answer[:rand.IntN(len(answer))]
		}
		c := saying{answer, rand.IntN(2) == 0}
		send := func(f func(*translate.Sender, context.Context, *esapi.Request) (*esapi.Response, error)) string {
			var fired []string
			s := translate.NewSender(client, cluster, oneType{}, c)
			s.OnFired = func(f translate.Fired) {
				for _, c := range f.Answer {
					fired = append(fired, c.Name)
				}
			}
			a, err := f(s, t.Context(), esapi.NewRequest("POST", path, []byte(body)))
			if err != nil {
				return err.Error()
			}
			got, err := io.ReadAll(a.Body)
			if err != nil {
				got = nil // how much comes before that depends on the window
			}
			return fmt.Sprintf("%d %v %v %v\n%s", a.Status, a.Header, err, fired, got)
		}
		got, want := send((*translate.Sender).Send), send((*translate.Sender).SendVisitingAll)
		if got != want {
			t.Fatalf("%v on %v: %s %s\n%.3000s\nbecomes\n%.3000s\nnot\n%.3000s", client, cluster, path, body, answer, got, want)
		}
	}
}
