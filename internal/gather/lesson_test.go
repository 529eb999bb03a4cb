package gather

import (
	"context"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/translate"
)

type senderFunc func(context.Context, *esapi.Request) (*esapi.Response, error)

func (f senderFunc) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	return f(ctx, r)
}

// A write that tells the type of an index is sent as it is, whatever is under way.
func TestLessonsAreSentAlone(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 2)
	s := New(nil).Sender(Target{Version: esapi.V(7, 17)}, senderFunc(func(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
		if len(translate.Lessons(ctx)) == 0 {
			arrived <- struct{}{}
			<-release
		} else if !strings.HasPrefix(r.Path, "/books/_doc/") {
			t.Errorf("%s %s", r.Method, r.Path)
		}
		return esapi.NewResponse(200, []byte(`{}`)), nil
	}))
	write := func(ctx context.Context, id string) {
		if res, err := s.Send(ctx, esapi.NewRequest("PUT", "/books/_doc/"+id, []byte(`{"n":1}`))); err != nil || res.Status != 200 {
			t.Errorf("%+v %v", res, err)
		}
	}
	ended := make(chan struct{}, 4)
	for _, id := range []string{"1", "2"} {
		go func() { write(t.Context(), id); ended <- struct{}{} }()
		<-arrived
	}
	for _, id := range []string{"3", "4"} { // these would wait for the others, and go together
		ctx, _ := translate.Teach(t.Context(), "books", "book")
		go func() { write(ctx, id); ended <- struct{}{} }()
	}
	<-ended
	<-ended
	close(release)
	<-ended
	<-ended
}
