package handover

import "testing"

func TestReply(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: a\r\n"
	for _, c := range []struct {
		parts []string
		head  bool
		whole bool
	}{
		{[]string{ok + "Content-Length: 5\r\n\r\nhello"}, false, true},
		{[]string{ok + "Content-Length: 5\r\n\r\nhel", "lo"}, false, true},
		{[]string{ok + "Content-Length: 5\r\n\r\nhel"}, false, false},
		{[]string{ok + "content-length: 5\r\nconnection: close\r\n\r\nhello"}, false, false},
		{[]string{ok + "Content-Length: 5\r\n\r\n"}, true, true},
		{[]string{ok + "Content-Length: x\r\n\r\n"}, false, false},
		{[]string{ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"}, false, true},
		{[]string{ok + "Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n", "0\r", "\n\r\n"}, false, true},
		{[]string{ok + "Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n"}, false, false},
		{[]string{"HTTP/1.1 204 No Content\r\n\r\n"}, false, true},
		{[]string{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"}, false, false},
		{[]string{ok + "\r\nuntil the end"}, false, false},
		{[]string{ok}, false, false},
		{nil, false, false},
	} {
		var r reply
		for _, p := range c.parts {
			r.wrote([]byte(p))
		}
		if r.whole(c.head) != c.whole {
			t.Errorf("%q: %v", c.parts, r.whole(c.head))
		}
	}
}

func TestIsOneRequest(t *testing.T) {
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                                                              true,
		"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}":                                                  true,
		"PUT / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{":                                                   false,
		"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n":                            false,
		"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n":                                                   false,
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n":                       true,
		"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n": false,
		"GET / HTTP/1.1\nContent-Length: 2\r\n\r\n":                                                      false,
		"GET / HTTP/1.1\r\n": false,
		"":                   false,
	} {
		if isOneRequest([]byte(text)) != want {
			t.Errorf("%q", text)
		}
	}
}
