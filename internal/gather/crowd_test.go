package gather

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A busy cluster has processors, each of which carries out one request at a time.
type busy struct {
	processors chan struct{}
	each, more time.Duration // for a request, and for each of its documents
	wait       time.Duration // that nobody works, such as for a disk
	requests   int
	writes     int
}

// Send implements esapi.Sender.
func (b *busy) Send(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
	ids := (&visit{Request: r}).ids()
	alone := !strings.HasSuffix(r.Path, "_bulk")
	if alone {
		ids = []string{r.Path[strings.LastIndexByte(r.Path, '/')+1:]}
	}
	b.processors <- struct{}{}
	b.requests++
	b.writes += len(ids)
	time.Sleep(b.each + time.Duration(len(ids))*b.more)
	<-b.processors
	time.Sleep(b.wait)
	if alone {
		return created(ids[0]), nil
	}
	var items []string
	for _, id := range ids {
		items = append(items, `{"index":`+item(id, `,"status":201`)+`}`)
	}
	return esapi.NewResponse(200, []byte(`{"items":[`+strings.Join(items, ",")+`]}`)), nil
}

// Many clients, each of which writes again as soon as it is answered, are about half in
// one bulk and half in another; also if the cluster answers late without having much to
// do none waits much longer than alone.
func TestCrowd(t *testing.T) {
	for _, test := range []struct {
		clients int
		cluster busy
		size    float64       // of a bulk, at least
		latency time.Duration // of a write, at most
	}{
		{1, busy{each: time.Millisecond}, 1, 1100 * time.Microsecond},
		{2, busy{each: time.Millisecond}, 1, 2200 * time.Microsecond},
		{4, busy{each: time.Millisecond}, 1.5, 4 * time.Millisecond},
		{16, busy{each: time.Millisecond, more: 100 * time.Microsecond}, 6, 5 * time.Millisecond},
		{100, busy{each: time.Millisecond, more: 100 * time.Microsecond}, 40, 15 * time.Millisecond},
		{100, busy{each: 100 * time.Microsecond, more: 10 * time.Microsecond, wait: 10 * time.Millisecond}, 40, 14 * time.Millisecond},
		{300, busy{each: time.Millisecond, more: 100 * time.Microsecond}, 60, 40 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d, %v", test.clients, test.cluster.wait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				of := cluster.New("fake", senderFunc(func(_ context.Context, r *esapi.Request) (*esapi.Response, error) {
					return esapi.NewResponse(200, []byte(`{"books":{"aliases":{},"mappings":{},"settings":{"index":{"uuid":"u"}}}}`)), nil
				}), cluster.Options{Version: esapi.V(8, 7)})
				defer of.Close()
				if _, ok, err := of.Facts().Lookup(t.Context(), "books"); err != nil || !ok {
					t.Fatal(ok, err)
				}
				to := &test.cluster
				to.processors = make(chan struct{}, 1)
				g := New(nil)
				s := g.Sender(Target{Cluster: of, Version: esapi.V(8, 7)}, to)
				began := time.Now()
				const times = 200
				var all sync.WaitGroup
				for i := range test.clients {
					all.Go(func() {
						id := fmt.Sprint(i)
						for range times {
							if res, err := s.Send(t.Context(), esapi.NewRequest("PUT", "/books/_doc/"+id, []byte(`{}`))); err != nil || res.Status != 201 {
								t.Error(res, err)
							}
							time.Sleep(time.Duration(50+i) * time.Microsecond) // until it is back
						}
					})
				}
				all.Wait()
				size, latency := float64(to.writes)/float64(to.requests), time.Since(began)/times
				t.Logf("%.1f writes a request, %v each", size, latency)
				if size < test.size || latency > test.latency {
					t.Errorf("%.1f writes a request, want %.1f; %v each, want %v", size, test.size, latency, test.latency)
				}
			})
		})
	}
}
