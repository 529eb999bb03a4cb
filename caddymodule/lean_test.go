package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/wire"
)

// keepingWriter is a client that has gone away. It keeps what it was given: so may HTTP/2, whose
// writer of frames need not have ended when it says that a stream was reset.
type keepingWriter struct {
	quietWriter
	given, was []byte
}

func (w *keepingWriter) Write(b []byte) (int, error) {
	w.given, w.was = b, bytes.Clone(b)
	return 0, errors.New("the stream is closed")
}

// Once an answer could not be handed on, the room that it was copied in is not used for another one.
func TestRoomOfACopyThatFails(t *testing.T) {
	copyOf := func(w http.ResponseWriter, of string, n int, length int64) error {
		f := passages.Get().(*passage)
		defer f.end()
		return f.copyBody(w, &wire.Response{Status: 200, Length: length, Body: io.NopCloser(strings.NewReader(strings.Repeat(of, n)))})
	}
	for _, n := range []int{100, 100 << 10} {
		for _, length := range []int64{int64(n), -1} {
			for range 10 { // a pool may lose what it has
				w := &keepingWriter{quietWriter: quietWriter{header: http.Header{}}}
				if err := copyOf(w, "a", n, length); !ended(err) || len(w.given) == 0 {
					t.Fatalf("%d bytes of %d: %v", len(w.given), n, err)
				}
				for range 3 {
					q := &quietWriter{header: http.Header{}}
					if err := copyOf(q, "b", n, length); err != nil || q.bytes != n {
						t.Fatalf("%d bytes of %d: %v", q.bytes, n, err)
					}
				}
				if !bytes.Equal(w.given, w.was) {
					t.Fatalf("%d bytes, length %d: the room is used again", n, length)
				}
			}
		}
	}
}
