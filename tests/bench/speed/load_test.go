package speed

import (
	"bufio"
	"bytes"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/bench/measure"
)

// TestStub sends all that is measured to a stub of each version: the shots fit the
// answers, and nothing is lost.
func TestStub(t *testing.T) {
	for _, version := range []string{"7.17.28", "8.7.1"} {
		addr := strings.TrimPrefix(startStub(t, version).url, "http://")
		for _, mode := range modes {
			begun, ended := 0, 0
			l := load{addr: addr, shot: dialect(version).shot(mode, "books"), connections: 3, warm: time.Millisecond, period: 10 * time.Millisecond, patience: time.Minute,
				begin: func() { begun++ }, end: func() { ended++ }}
			if mode == "offered" {
				l.rate = 100 // none is due in the period
			}
			got, err := l.send(t.Context())
			if err != nil || got.requests == 0 || got.requests != len(got.latencies) || begun != 1 || ended != 1 {
				t.Errorf("%s, %s: %d requests, %d latencies, %d and %d calls, %v", version, mode, got.requests, len(got.latencies), begun, ended, err)
			}
		}
	}
}

// answering is a server that gives one answer to everything.
func answering(t *testing.T, pause time.Duration, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				var r asked
				for r.read(in) == nil {
					time.Sleep(pause)
					if _, err := c.Write([]byte(answer)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestWrongAnswers: a load ends with the first answer that is not right.
func TestWrongAnswers(t *testing.T) {
	const of0 = `{"_id":"0000000000","found":true}`
	whole := func(body string) string {
		return "HTTP/1.1 200 OK\r\ncontent-length: " + itoa(len(body)) + "\r\n\r\n" + body
	}
	for name, c := range map[string]struct{ answer, want string }{
		"of another request": {whole(strings.Replace(of0, "00", "99", 1)), "not to the request"},
		"of two requests":    {whole(of0 + of0), "more often"},
		"without what must":  {whole(`{"_id":"0000000000"}`), "answered 200"},
		"an error":           {strings.Replace(whole(of0), "200", "503", 1), "answered 503"},
		"two answers":        {whole(of0) + whole(of0), "more than one answer"},
		"without a length":   {"HTTP/1.1 200 OK\r\n\r\n" + of0, "no length"},
		"too short a chunk":  {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n" + of0 + "\r\n", "not the end of a chunk"},
		"no answer":          {"hello\r\n", "not an answer"},
		"the last answer":    {"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "to be closed"},
	} {
		l := load{addr: answering(t, 0, c.answer), shot: dialect("8").shot("get", "books"), connections: 1, period: time.Minute, begin: func() {}, end: func() {}}
		began := time.Now()
		if _, err := l.send(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
}

func itoa(n int) string {
	var b [10]byte
	digits(b[:], int64(n))
	return strings.TrimLeft(string(b[:]), "0")
}

// TestLateAnswers: what a slow server keeps waiting counts from when it was due.
func TestLateAnswers(t *testing.T) {
	const pause = 50 * time.Millisecond
	body := `{"_id":"0000000000","found":true}`
	addr := answering(t, pause, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n21\r\n"+body+"\r\n0\r\n\r\n")
	s := dialect("8").shot("get", "books")
	s.wrap = 1
	l := load{addr: addr, shot: s, connections: 1, period: 200 * time.Millisecond, rate: 50, patience: time.Minute, begin: func() {}, end: func() {}}
	got, err := l.send(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Ten were due, 20 ms apart, and each took 50: the last one was 300 ms late.
	if last := measure.Quantile(got.latencies, 1); len(got.latencies) != 10 || last < 300 {
		t.Errorf("%d, the last one after %v ms", len(got.latencies), last)
	}
}

func TestDocumentsAreAsLargeAsSaid(t *testing.T) {
	if n := len(document()); n != 500 {
		t.Error(n)
	}
	status, hits := newStub("8.7.1").answer(nil, &asked{method: "POST", path: "/books/_search", body: []byte(`{"query":{"term":{"group":"0000000007"}}}`)})
	if n := len(hits); status != ok || n < 5500 || n > 7000 || bytes.Count(hits, []byte(`"group":"0000000007"`)) != 10 {
		t.Errorf("%s, %d bytes: %s", status, n, hits)
	}
}

// A bulk that names its index in the path gets answers that name it: the journal takes none else.
func TestStubNamesTheIndex(t *testing.T) {
	body := []byte(`{"index":{"_id":"1"}}` + "\n{}\n" + `{"delete":{"_index":"films","_id":"2"}}` + "\n")
	_, answer := newStub("8.7.1").answer(nil, &asked{method: "POST", path: "/books/_bulk", body: body})
	for i, want := range []string{"books", "films"} {
		if got := gjson.GetBytes(answer, "items."+strconv.Itoa(i)+".*._index").Str; got != want {
			t.Errorf("item %d is in %q, want %q: %s", i, got, want, answer)
		}
	}
}
