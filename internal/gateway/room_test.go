package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// ownBodies is a cluster that looks at the body of a bulk until its answer is closed.
type ownBodies struct {
	hotCluster
	bulks atomic.Int64
	wrong atomic.Pointer[string]
}

func (c *ownBodies) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	if r.Path != "/_bulk" {
		return c.hotCluster.Send(ctx, r)
	}
	mark, _, _ := bytes.Cut(r.Body[bytes.Index(r.Body, []byte(`"mark-`)):], []byte(" "))
	look := func() {
		if lines := bytes.Count(r.Body, []byte("\n")) / 2; bytes.Count(r.Body, mark) != lines {
			text := fmt.Sprintf("%s is in %d of %d documents", mark, bytes.Count(r.Body, mark), lines)
			c.wrong.Store(&text)
		}
	}
	look()
	time.Sleep(time.Millisecond)
	look()
	n := c.bulks.Add(1)
	if n%5 == 0 {
		return nil, errors.New("no answer")
	}
	answer := `{"took":1,"errors":false,"items":[` + strings.Repeat(`{"index":{"_index":"books","_id":`+string(mark)+`","_version":1,"result":"created","status":201}},`, 200) + `{}]}`
	a := esapi.NewResponse(http.StatusOK, []byte(answer))
	a.Body = lookingBody{strings.NewReader(answer), look}
	return a, nil
}

type lookingBody struct {
	io.Reader
	look func()
}

func (b lookingBody) Close() error { b.look(); return nil }

// Neither the body of a bulk that is translated nor what became of it, nor an answer, has
// anything of another request in it, though their room is used again.
func TestRoomsAreOfOneRequest(t *testing.T) {
	to := &ownBodies{}
	g := hotGateway(t, to)
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for i := range 40 {
				mark := fmt.Sprintf(`"mark-%d-%d`, client, i)
				var lines strings.Builder
				for n := range 50 + i*20%400 {
					fmt.Fprintf(&lines, `{"index":{"_index":"books","_type":"book","_id":"%d"}}`+"\n"+`{"title":%s %s"}`+"\n", n, mark, strings.Repeat("x", i*7))
				}
				w := httptest.NewRecorder()
				g.ServeHTTP(w, httptest.NewRequest("POST", "/_bulk", strings.NewReader(lines.String())))
				if got := w.Body.String(); w.Code == http.StatusOK && strings.Count(got, mark+`"`) != 200 {
					t.Errorf("%s is %d times in the answer: %.300s", mark, strings.Count(got, mark+`"`), got)
				}
			}
		})
	}
	clients.Wait()
	if wrong := to.wrong.Load(); wrong != nil {
		t.Error(*wrong)
	}
	if to.bulks.Load() != 8*40 {
		t.Errorf("%d bulks came", to.bulks.Load())
	}
}
