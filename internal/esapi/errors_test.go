package esapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
)

func TestWriteError(t *testing.T) {
	const vendored8 = "application/vnd.elasticsearch+json; compatible-with=8, text/plain"
	for _, test := range []struct {
		method, url, accept string
		err                 *Error
		dialect             Version
		status              int
		contentType, body   string
	}{
		{"GET", "/", "", IllegalArgument("no <good>"), v56, 400, "application/json; charset=UTF-8",
			`{"error":{"root_cause":[{"type":"illegal_argument_exception","reason":"no <good>"}],"type":"illegal_argument_exception","reason":"no <good>"},"status":400}`},
		{"GET", "/", "", Unavailable("a"), v817, 503, "application/json",
			`{"error":{"root_cause":[{"type":"esperanto_unavailable_exception","reason":"a"}],"type":"esperanto_unavailable_exception","reason":"a"},"status":503}`},
		{"GET", "/", vendored8, &Error{Status: 404, Reason: "alias [x] missing"}, v817, 404, "application/vnd.elasticsearch+json;compatible-with=8",
			`{"error":"alias [x] missing","status":404}`},
		{"GET", "/", vendored8, &Error{Reason: "x"}, v717, 500, "application/json; charset=UTF-8", `{"error":"x","status":500}`},
		{"HEAD", "/", "", Unsupported("x"), v817, 400, "application/json", ""},
		{"GET", "/?pretty&filter_path=nothing", "", &Error{Status: 404, Reason: "x"}, v817, 404, "application/json", "{\n  \"error\" : \"x\",\n  \"status\" : 404\n}\n"},
		{"GET", "/?format=yaml", "", &Error{Status: 404, Reason: "x"}, v817, 404, "application/yaml", "---\nerror: \"x\"\nstatus: 404\n"},
		{"GET", "/", "", ParsingException("p", 2, 7), Version{}, 400, "application/json; charset=UTF-8",
			`{"error":{"root_cause":[{"type":"parsing_exception","reason":"p","line":2,"col":7}],"type":"parsing_exception","reason":"p","line":2,"col":7},"status":400}`},
		{"GET", "/", "", IndexNotFound("i", v817), v817, 404, "application/json",
			`{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [i]","resource.type":"index_or_alias","resource.id":"i","index_uuid":"_na_","index":"i"}],"type":"index_not_found_exception","reason":"no such index [i]","resource.type":"index_or_alias","resource.id":"i","index_uuid":"_na_","index":"i"},"status":404}`},
	} {
		r := httptest.NewRequest(test.method, test.url, nil)
		r.Header.Set("Accept", test.accept)
		w := httptest.NewRecorder()
		WriteError(w, r, test.err, test.dialect)
		if w.Code != test.status || w.Header().Get("Content-Type") != test.contentType || w.Body.String() != test.body {
			t.Errorf("%s %s: %d %s %s", test.method, test.url, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestParseError(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   Error
	}{
		{404, `{"error":"alias [x] missing","status":404}`, Error{Status: 404, Reason: "alias [x] missing"}},
		{400, `No handler found for uri [/x] and method [GET]`, Error{Status: 400, Reason: "No handler found for uri [/x] and method [GET]"}},
		{502, "<html>\xff", Error{Status: 502, Reason: "<html>\uFFFD"}},
		{404, ``, Error{Status: 404, Reason: "Not Found"}},
		{503, `null`, Error{Status: 503, Reason: "null"}},
		{0, `{"error":{"root_cause":[{"type":"a","reason":"b"}],"type":"a","reason":"b","line":1,"col":3,"caused_by":{"type":"c","reason":"d"}},"status":400}`,
			Error{Status: 400, Type: "a", Reason: "b", Line: 1, Col: 3, CausedBy: &Error{Type: "c", Reason: "d"}, RootCause: []*Error{{Type: "a", Reason: "b"}}}},
		{404, `{"error":{"type":"index_not_found_exception","reason":null,"index":"i","index_uuid":"_na_","shard":0},"status":404}`,
			Error{Status: 404, Type: "index_not_found_exception", Index: "i", IndexUUID: "_na_", Shard: "0"}},
	} {
		if got := ParseError(test.status, []byte(test.body)); !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", test.body, *got, test.want)
		}
	}
}

func TestErrorsReadBack(t *testing.T) {
	for _, e := range []*Error{
		IllegalArgument("\"quoted\" \u2028 ü"), ValidationFailed("type is missing", "id is missing"), {Status: 404, Reason: "x"},
		{Status: 409, Type: "a", Reason: "b", Shard: "1", CausedBy: &Error{Type: "c", Reason: "d", CausedBy: &Error{Type: "e"}}},
	} {
		got := ParseError(0, e.JSON())
		got.RootCause = nil
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%+v became %+v", e, got)
		}
	}
	if got := ValidationFailed("a", "b").Error(); got != "action_request_validation_exception: Validation Failed: 1: a;2: b;" {
		t.Error(got)
	}
}

func TestAsError(t *testing.T) {
	unsupported := Unsupported("x")
	if got := AsError(fmt.Errorf("while y: %w", unsupported)); got != unsupported {
		t.Errorf("got %v", got)
	}
	if got := AsError(&http.MaxBytesError{Limit: 3}); got.Status != 413 {
		t.Errorf("got %+v", got)
	}
	if got := AsError(errors.New("z")); got.Status != 500 || got.Reason != "z" {
		t.Errorf("got %+v", got)
	}
}
