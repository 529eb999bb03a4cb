package gateway

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A scroll that was begun on one cluster goes on there after the master was
// moved, in every form in which clients give its id.
func TestScrollsOutliveASwitchover(t *testing.T) {
	for _, pair := range [][2]string{{"5.6.16", "5.6.16"}, {"5.6.16", "7.17.28"}, {"6.8.23", "8.7.1"}, {"8.7.1", "7.17.28"}} {
		r := newRig(t, pair[0], pair[0], pair[1])
		answer := func(*esapi.Request) (*esapi.Response, error) {
			return esapi.NewResponse(200, []byte(`{"_scroll_id":"DnF1ZXJ5==","took":1,"hits":{"total":0,"hits":[]}}`)), nil
		}
		r.source.f, r.target.f = answer, answer
		first := r.do(t, "POST", "/i/_search?scroll=1m", `{"size":1}`)
		id := gjson.GetBytes(first.Body.Bytes(), "_scroll_id").String()
		if !strings.HasPrefix(id, "esperanto.") || !strings.HasSuffix(id, ".DnF1ZXJ5==") {
			t.Fatalf("%v: id %q in %s", pair, id, first.Body)
		}
		if length := first.Header().Get("Content-Length"); length != "" && length != strconv.Itoa(first.Body.Len()) {
			t.Errorf("%v: Content-Length %s of %d bytes", pair, length, first.Body.Len())
		}

		r.master = r.Target
		for _, c := range []struct{ method, target, body string }{
			{"POST", "/_search/scroll", `{"scroll":"1m","scroll_id":"` + id + `"}`},
			{"GET", "/_search/scroll?scroll=1m&scroll_id=" + url.QueryEscape(id), ""},
			{"GET", "/_search/scroll/" + url.PathEscape(id) + "?scroll=1m", ""},
			{"POST", "/_search/scroll?scroll=1m", id},
			{"DELETE", "/_search/scroll", `{"scroll_id":["` + id + `","` + id + `"]}`},
			{"DELETE", "/_search/scroll/" + url.PathEscape(id), ""},
		} {
			before := len(r.source.sent)
			w := r.do(t, c.method, c.target, c.body)
			if len(r.source.sent) != before+1 || len(r.target.sent) != 0 {
				t.Fatalf("%v: %s %s: sent to the source %d, to the target %d; %d %s", pair, c.method, c.target, len(r.source.sent)-before, len(r.target.sent), w.Code, w.Body)
			}
			s := r.source.sent[before]
			all, _ := url.PathUnescape(s.Path + "?" + s.Params.Encode() + string(s.Body))
			if strings.Contains(all, "esperanto.") || !strings.Contains(all, "DnF1ZXJ5==") {
				t.Errorf("%v: %s %s: sent %s", pair, c.method, c.target, all)
			}
			if c.method != "DELETE" && !strings.Contains(w.Body.String(), id) {
				t.Errorf("%v: %s %s: the next page has no id of the source: %s", pair, c.method, c.target, w.Body)
			}
		}
		// An id of before the gateway's time is the master's.
		r.do(t, "POST", "/_search/scroll", `{"scroll_id":"abc"}`)
		if len(r.target.sent) != 1 {
			t.Errorf("%v: an id without a cluster: %d requests to the master", pair, len(r.target.sent))
		}
	}
}

// So does a point in time, of the cluster or emulated.
func TestPointsInTimeOutliveASwitchover(t *testing.T) {
	for _, pair := range [][2]string{{"7.17.28", "8.7.1"}, {"8.7.1", "8.7.1"}, {"8.7.1", "5.6.16"}} {
		r := newRig(t, pair[0], pair[1], pair[0])
		r.source.f = func(q *esapi.Request) (*esapi.Response, error) {
			switch {
			case strings.HasSuffix(q.Path, "/_pit"):
				return esapi.NewResponse(200, []byte(`{"id":"o-a1Aw==","succeeded":true,"num_freed":1}`)), nil
			case strings.Contains(string(q.Body), "pit"):
				return esapi.NewResponse(200, []byte(`{"pit_id":"o-a1Aw==","took":1,"hits":{"total":0,"hits":[]}}`)), nil
			}
			return esapi.NewResponse(200, []byte(`{"_scroll_id":"DnF1ZXJ5==","took":1,"_shards":{"total":1},"hits":{"total":0,"hits":[]}}`)), nil
		}
		id := gjson.GetBytes(r.do(t, "POST", "/i/_pit?keep_alive=1m", "").Body.Bytes(), "id").String()
		if !strings.HasPrefix(id, "esperanto.") {
			t.Fatalf("%v: id %q", pair, id)
		}
		r.master = r.Target
		w := r.do(t, "POST", "/_search", `{"pit":{"id":"`+id+`"},"sort":["n"]}`)
		next := gjson.GetBytes(w.Body.Bytes(), "pit_id").String()
		if !strings.HasPrefix(next, scrollPrefix(r.Source)) {
			t.Errorf("%v: the page's id %q; %d %s", pair, next, w.Code, w.Body)
		}
		if w := r.do(t, "DELETE", "/_pit", `{"id":"`+next+`"}`); w.Code != 200 {
			t.Errorf("%v: closing: %d %s", pair, w.Code, w.Body)
		}
		for _, s := range r.source.sent {
			if strings.Contains(string(s.Body), "esperanto.") {
				t.Errorf("%v: sent %s", pair, s.Body)
			}
		}
		if len(r.target.sent) > 0 {
			t.Errorf("%v: %d requests to the master, %s the first", pair, len(r.target.sent), r.target.sent[0].Path)
		}
	}
}

func TestScrollIDAt(t *testing.T) {
	for head, want := range map[string]int{
		`{"_scroll_id":"x`:             15,
		"{\n  \"_scroll_id\" : \"x":    20,
		`{"took":1`:                    -1,
		`{"_scroll_id":null`:           -1,
		``:                             -1,
		"---\n_scroll_id: \"x\"":       -1,
		`[{"_scroll_id":"x"}]`:         -1,
		`{"_scroll_id`:                 -1,
		`{"a":1,"_scroll_id":"x"}    `: -1,
	} {
		if got := idAt([]byte(head), "search"); got != want {
			t.Errorf("%s: %d, not %d", head, got, want)
		}
	}
}
