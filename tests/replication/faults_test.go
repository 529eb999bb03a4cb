package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/tests/harness"
)

// unreliable loses answers of the master to document writes: before the
// request, after it, or in the middle of the answer.
type unreliable struct {
	*link
	mu  sync.Mutex
	rng *rand.Rand
}

func (u *unreliable) Send(ctx context.Context, r *esapi.Request) (*esapi.Response, error) {
	u.mu.Lock()
	what := 10
	if r.Method == "PUT" || r.Path == "/_bulk" {
		what = u.rng.IntN(10)
	}
	u.mu.Unlock()
	if what == 0 {
		return nil, errors.New("the connection broke before the request")
	}
	res, err := u.link.Send(ctx, r)
	if err == nil && what == 1 {
		res.Body.Close()
		return nil, errors.New("the connection broke before the answer")
	}
	if err == nil && what == 2 {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(res.Body, 40), cut{}), res.Body}
	}
	return res, err
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Writes from many clients to few documents through a master that loses
// answers, with the process killed every now and then: both clusters are equal
// in the end, and hold what was acknowledged.
func TestLostAnswersAndKills(t *testing.T) {
	harness.Real(t)
	for _, p := range [][2]string{{"5.6.16", "8.7.1"}, {"7.17.28", "6.8.23"}} {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			g := newBench(t, p[0], p[1], embedded(t))
			g.must("PUT", "/"+g.prefix+"books", `{"settings":{"number_of_replicas":0},"mappings":`+g.mapping(`{"n":{"type":"long"}}`)+`}`)
			g.kill()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			g.over = func(a esapi.Sender) esapi.Sender {
				return &unreliable{link: a.(*link), rng: rand.New(rand.NewPCG(seed, 1))}
			}
			acknowledged := map[string]bool{}
			for round := range 5 {
				g.start()
				var writers sync.WaitGroup
				var mu sync.Mutex
				for w := range 8 {
					writers.Go(func() {
						for i := range 40 {
							own := fmt.Sprintf("%d-%d-%d", round, w, i)
							path, body, method := g.doc("books", fmt.Sprint(i%7)), fmt.Sprintf(`{"n":%d}`, i), "PUT"
							switch i % 4 {
							case 1:
								path = g.doc("books", own)
							case 2:
								method, path = "POST", "/_bulk"
								body = g.action("index", "books", own, "") + body + "\n" + g.action("delete", "books", fmt.Sprint(i%7), "")
							}
							status, answer, err := g.send(method, path, body)
							if err == nil && status < 300 && i%4 != 0 && i%4 != 3 && !answer.Get("errors").Bool() {
								mu.Lock()
								acknowledged[own] = true
								mu.Unlock()
							}
						}
					})
				}
				writers.Wait()
				g.kill()
			}
			g.over = nil
			g.start()
			g.equal()
			missing := 0
			for id := range acknowledged {
				if status, _ := g.b.real.Do(t, "GET", "/"+g.prefix+"books/_doc/"+id, ""); status != 200 {
					missing++
				}
			}
			if missing > 0 {
				t.Errorf("%d of %d acknowledged documents are missing", missing, len(acknowledged))
			}
			t.Logf("%d acknowledged, %+v", len(acknowledged), g.r.Counts())
		})
	}
}
