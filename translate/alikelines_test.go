package translate_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
	_ "github.com/esperanto-es/esperanto/translate/catalogue"
)

// oneType are the facts of a cluster whose indices have one type, "book", and but for
// "papers" a field that is a boolean; "films" does not exist.
type oneType struct{ translate.Facts }

func (oneType) Index(_ context.Context, name string) (translate.IndexFacts, bool, error) {
	if name == "films" {
		return translate.IndexFacts{Name: name}, false, nil
	}
	if name == "papers" {
		return translate.IndexFacts{Name: name, Type: "book"}, true, nil
	}
	return translate.IndexFacts{Name: name, Type: "book", Fields: map[string]translate.Field{"a": {Type: "boolean"}, "d": {Type: "date"}}}, true, nil
}
func (oneType) Expand(_ context.Context, name string) ([]string, error) { return []string{name}, nil }
func (oneType) Learn(context.Context, string, string) error             { return nil }

// noting answers a bulk with an item for each of its actions, and notes what it was sent.
type noting struct{ sent []string }

func (c *noting) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	c.sent = append(c.sent, r.Method+" "+r.Path+" "+string(r.Body))
	var items []string
	for line := range bytes.Lines(r.Body) {
		gjson.ParseBytes(line).ForEach(func(action, meta gjson.Result) bool {
			if meta.IsObject() && action.Str != "doc" {
				items = append(items, fmt.Sprintf(`{"%s":{"_index":"books","_id":"%s","_version":1,"result":"created","status":201}}`, action.Str, meta.Get("_id").Str))
			}
			return true
		})
	}
	return esapi.NewResponse(http.StatusOK, []byte(`{"took":1,"errors":false,"items":[`+strings.Join(items, ",")+`]}`)), nil
}

// What is taken from the action line in front is what the rules make of a line.
func TestAlikeLines(t *testing.T) {
	majors := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	pick := func(of ...string) string { return of[rand.IntN(len(of))] }
	item := func() string {
		meta := fmt.Sprintf(`"_index":"%s","_id":%s%s`, pick("books", "papers", "papers", "films"), pick("", "", " "),
			pick(`"ID"`, `"ID"`, `"ID"`, `"ID"`, `"books"`, `"a\"b"`, `""`, `7`, `"é"`))
		if rand.IntN(3) == 0 {
			meta += pick(`,"_type":"book"`, `,"_type":"other"`, `,"routing":"1"`, `,"_routing":"ID"`, `,"version":3`, `,"_id":"9"`, `,"retry_on_conflict":2`, `,"require_alias":true`)
		}
		head := fmt.Sprintf(`{"%s":{%s}}`, pick("index", "index", "index", "create", "delete", "update", "merge"), meta)
		if rand.IntN(30) == 0 {
			head = head[:len(head)-1] // broken
		}
		head += pick("", "", "", "\r") + "\n"
		switch {
		case strings.Contains(head, `"delete"`):
			return head
		case strings.Contains(head, `"update"`):
			return head + `{"doc":{"a":"yes"}}` + "\n"
		}
		return head + pick(`{"a":true}`, `{"a":"yes"}`, ` {"b":"yes"} `, "", "[]", `{"a":1`, `}`, `{}}`, `{}{}`, `{"index":{"_id":"9"}}`) + pick("", "", "", "\r", " ") + "\n"
	}
	alike := 0
	for range 2000 {
		client, cluster := majors[rand.IntN(4)], majors[rand.IntN(4)]
		var body strings.Builder
		same := item()
		for i := range 1 + rand.IntN(12) {
			if rand.IntN(3) == 0 {
				same = item()
			} else if i > 0 {
				alike++
			}
			body.WriteString(strings.ReplaceAll(same, "ID", fmt.Sprint(i)))
		}
		text := body.String()
		if rand.IntN(4) == 0 {
			text = strings.TrimSuffix(text, "\n")
		}
		send := func(f func(*translate.Sender, context.Context, *esapi.Request) (*esapi.Response, error), spare bool) string {
			c := &noting{}
			r := esapi.NewRequest("POST", "/_bulk", []byte(text))
			r.Spare = spare
			a, err := f(translate.NewSender(client, cluster, oneType{}, c), t.Context(), r)
			if err != nil {
				return fmt.Sprintf("%q %v", c.sent, err)
			}
			answer, err := io.ReadAll(a.Body)
			return fmt.Sprintf("%q\n%d %v %v %s", c.sent, a.Status, a.Header[translate.LossyHeader], err, answer)
		}
		want := send((*translate.Sender).SendVisitingAll, false)
		for _, spare := range []bool{false, true} {
			if got := send((*translate.Sender).Send, spare); got != want {
				t.Fatalf("%v on %v: of\n%s\nbecomes\n%s\nnot\n%s", client, cluster, text, got, want)
			}
		}
	}
	if alike < 1000 {
		t.Errorf("only %d lines were as the one in front", alike)
	}
}

// Of a bulk of documents that need no look, all but the first is copied without one, whatever
// the versions are.
func TestSparedItems(t *testing.T) {
	majors := []translate.Version{translate.V(5, 6), translate.V(6, 8), translate.V(7, 17), translate.V(8, 7)}
	for _, client := range majors {
		for _, cluster := range majors {
			if client == cluster {
				continue
			}
			for _, meta := range []string{`"_index":"papers","_id":"1"`, `"_index":"papers","_type":"book","_id":"1"`} {
				if !client.Before(translate.V(8, 0)) && strings.Contains(meta, "_type") {
					continue // 8.x knows no types
				}
				r := esapi.NewRequest("POST", "/_bulk", []byte(`{"index":{`+meta+`}}`+"\n"+`{"a":"yes"}`+"\n"))
				if spares, err := translate.NewSender(client, cluster, oneType{}, nil).SparesItems(t.Context(), r); !spares || err != nil {
					t.Errorf("%v on %v: what is like %s is looked at: %v", client, cluster, meta, err)
				}
			}
		}
	}
}
