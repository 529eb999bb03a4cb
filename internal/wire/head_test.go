package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzHead reads any bytes as an answer. What is taken net/http takes too, and
// understands alike.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{okHello, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.0 304 \nA:b\n\n", "HTTP/1.1 200 OK\nContent-Length: 9\n\nhe\r\n\r\nllo", "HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n", "HTTP/1.1 103 x\r\n\r\n" + okHello, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		from := bufio.NewReaderSize(strings.NewReader(text), 16)
		h, _, err := readHead(from, nil, nil)
		atOnce := bufio.NewReaderSize(strings.NewReader(text), 64<<10)
		again, _, err2 := readHead(atOnce, nil, nil)
		if fmt.Sprint(h, err) != fmt.Sprint(again, err2) {
			t.Fatalf("piece by piece %+v %v, at once %+v %v", h, err, again, err2)
		}
		if err != nil {
			return
		}
		if h.status < 100 || h.status > 999 || h.length < -1 {
			t.Fatalf("%+v", h)
		}
		header := http.Header{}
		h.addTo(header)
		for key, values := range header {
			if !isToken(key) || key != http.CanonicalHeaderKey(key) || len(values) == 0 {
				t.Fatalf("header %q: %q", key, values)
			}
		}
		res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		if err != nil {
			t.Fatalf("net/http does not take it: %v", err)
		}
		if res.StatusCode != h.status {
			t.Fatalf("status %d, for net/http %d", h.status, res.StatusCode)
		}
		if h.bodiless("GET") || h.chunks {
			return
		}
		if res.ContentLength != h.length {
			t.Fatalf("length %d, for net/http %d", h.length, res.ContentLength)
		}
		ours, _ := io.ReadAll(from)
		if rest, _ := io.ReadAll(atOnce); !bytes.Equal(rest, ours) {
			t.Fatalf("behind the head is %q, read at once %q", ours, rest)
		}
		if h.length >= 0 {
			ours = ours[:min(h.length, int64(len(ours)))]
		}
		theirs, _ := io.ReadAll(res.Body)
		if string(ours) != string(theirs) {
			t.Fatalf("body %q, for net/http %q", ours, theirs)
		}
	})
}
