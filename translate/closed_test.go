package translate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// opening is a cluster that counts the bodies of its answers that are open.
type opening struct {
	body string
	open map[*openBody]bool
}

type openBody struct {
	io.Reader
	of *opening
}

func (b *openBody) Close() error { delete(b.of.open, b); return nil }

func (o *opening) Send(context.Context, *esapi.Request) (*esapi.Response, error) {
	b := &openBody{strings.NewReader(o.body), o}
	o.open[b] = true
	return &esapi.Response{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: b}, nil
}

// Of a request that fails once the cluster has answered no body stays open: neither if a
// rule or a step says so nor if one panics.
func TestBodiesAreClosed(t *testing.T) {
	boom := errors.New("boom")
	fail := func(*Exchange, *Node) error { return boom }
	bad := func(*Exchange, *Node) error { panic(boom) }
	via := func(end func() error) func(*Exchange, *Node) error {
		return func(x *Exchange, _ *Node) error {
			x.Via(func(ctx context.Context, r *esapi.Request, next esapi.Sender) (*esapi.Response, error) {
				if _, err := next.Send(ctx, r); err != nil {
					return nil, err
				}
				return nil, end()
			})
			return nil
		}
	}
	const short = `{"hits":{"hits":[{"_source":{}}]}}`
	long := strings.Replace(short, "{}", `{"a":"`+strings.Repeat("x", 2*smallAnswer)+`"}`, 1)
	for _, c := range []struct {
		name     string
		at       Place
		do       func(*Exchange, *Node) error
		body     string
		streamed bool
	}{
		{"head, error", AnswerHead, fail, "{}", false},
		{"head, panic", AnswerHead, bad, "{}", false},
		{"head, panic after a look", AnswerHead, func(x *Exchange, _ *Node) error { x.AnswerBody(); panic(boom) }, "{}", false},
		{"body, error", Hit, fail, short, false},
		{"body, panic", Hit, bad, short, false},
		{"long body", Hit, fail, long, true},
		{"step, error", RequestHead, via(func() error { return boom }), "{}", false},
		{"step, panic", RequestHead, via(func() error { panic(boom) }), "{}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule := map[Place][]bound{c.at: {{change: &Change{}, do: c.do}}}
			request, answer := compile(rule), compile(nil)
			if c.at != RequestHead {
				request, answer = answer, request
			}
			o := &opening{c.body, map[*openBody]bool{}}
			s := &Sender{plan: &Plan{client: V(7, 0), cluster: V(8, 0), request: request, answer: answer}, next: o}
			func() {
				defer func() {
					if p := recover(); p != nil && p != boom {
						panic(p)
					}
				}()
				a, err := s.Send(t.Context(), &esapi.Request{Method: "GET", Path: "/books/_search"})
				if !c.streamed {
					if !errors.Is(err, boom) {
						t.Errorf("it went through with %v", err)
					}
					return
				}
				if err != nil || len(o.open) != 1 {
					t.Fatalf("%v, %d bodies are open", err, len(o.open))
				}
				if _, err := io.Copy(io.Discard, a.Body); !errors.Is(err, boom) {
					t.Errorf("it was read with %v", err)
				}
				_ = a.Body.Close()
			}()
			if len(o.open) > 0 {
				t.Errorf("%d bodies are open", len(o.open))
			}
		})
	}
}

// A rule that panics while an answer is read piece by piece does so where it is read, which
// can be caught.
func TestPanicWhileRead(t *testing.T) {
	rule := map[Place][]bound{Hit: {{change: &Change{}, do: func(*Exchange, *Node) error { panic("boom") }}}}
	o := &opening{`{"hits":{"hits":[{"_source":{"a":"` + strings.Repeat("x", 2*smallAnswer) + `"}}]}}`, map[*openBody]bool{}}
	s := &Sender{plan: &Plan{client: V(7, 0), cluster: V(8, 0), request: compile(nil), answer: compile(rule)}, next: o}
	a, err := s.Send(t.Context(), &esapi.Request{Method: "GET", Path: "/books/_search"})
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "boom") {
				t.Errorf("caught was %v", p)
			}
		}()
		defer a.Body.Close()
		_, err = io.ReadAll(struct{ io.Reader }{a.Body})
		t.Errorf("it was read with %v", err)
	}()
	if len(o.open) > 0 {
		t.Error("its body is open")
	}
}
