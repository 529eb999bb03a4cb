package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// keepingWriter is a client that goes away after some writes. It keeps what it is given then: so may
// HTTP/2, whose writer of frames need not have ended when it says that a stream was reset.
type keepingWriter struct {
	hotWriter
	after      int
	given, was []byte
}

func (w *keepingWriter) Write(b []byte) (int, error) {
	if w.after--; w.after >= 0 {
		return len(b), nil
	}
	w.given, w.was = b, bytes.Clone(b)
	return 0, errors.New("the stream is closed")
}

// Once an answer could not be written, its room is not used for another one.
func TestRoomOfAnAnswerThatFails(t *testing.T) {
	answer := func(hits, n int, of string) []byte {
		return []byte(`{"took":1,"hits":{"total":{"value":1,"relation":"eq"},"hits":[` + repeatJSON(hits, func(int) string {
			return `{"_index":"books","_id":"1","_source":{"a":"` + strings.Repeat(of, n) + `"}}`
		}) + `]}}`)
	}
	for name, test := range map[string]struct {
		hits, length, after int
		path                string
	}{
		"tiny":               {1, 100, 0, "/books/_search"},
		"in memory":          {1, 20 << 10, 0, "/books/_search"},
		"in memory, changed": {1, 20 << 10, 1, "/books/_search?filter_path=hits"}, // the second write is from the room itself
		"streamed":           {50, 20 << 10, 2, "/books/_search"},
		"streamed, changed":  {50, 20 << 10, 1, "/books/_search?filter_path=hits"},
	} {
		to := &hotCluster{answer(test.hits, test.length, "b")}
		g := hotGateway(t, to)
		ask := func(w http.ResponseWriter) (failed any) {
			defer func() { failed = recover() }()
			g.ServeHTTP(w, httptest.NewRequest("GET", test.path, nil))
			return nil
		}
		ask(httptest.NewRecorder()) // it asks for what it remembers
		for range 10 {              // a pool may lose what it has
			w := &keepingWriter{hotWriter: hotWriter{header: http.Header{}}, after: test.after}
			to.answer = answer(test.hits, test.length, "a")
			if failed := ask(w); failed != http.ErrAbortHandler || len(w.given) == 0 {
				t.Fatalf("%s: %d bytes were given, then %v", name, len(w.given), failed)
			}
			to.answer = answer(test.hits, test.length, "b")
			for range 3 {
				if failed := ask(httptest.NewRecorder()); failed != nil {
					t.Fatalf("%s: %v", name, failed)
				}
			}
			if !bytes.Equal(w.given, w.was) {
				t.Errorf("%s: the room is used again", name)
				break
			}
		}
	}
}
