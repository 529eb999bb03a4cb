package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// nothingLeft reports what somebody still holds.
func nothingLeft(t *testing.T, l *held) {
	t.Helper()
	if n := l.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	if !l.turns.TryAcquire(calmBytes) {
		t.Fatal("somebody still has a turn, or waits for one")
	}
	l.turns.Release(calmBytes)
}

// Bodies together are bounded, one alone is not; what was read of a body that is refused is
// given back.
func TestHeldBodies(t *testing.T) {
	const kb = 1 << 10
	all := newHeld(100 * kb)
	a, b := hold{of: all}, hold{of: all}
	read := func(h *hold, n int) error {
		_, err := h.read(t.Context(), strings.NewReader(strings.Repeat("x", n)), int64(n))
		return err
	}
	if err := read(&a, 60*kb); err != nil || a.bytes != 60*kb {
		t.Fatalf("%d bytes, %v", a.bytes, err)
	}
	own := new(esapi.Error)
	if err := read(&b, 80*kb); !errors.As(err, &own) || own.Status != 429 || own.Type != "es_rejected_execution_exception" {
		t.Errorf("%v", err)
	}
	if b.bytes == 0 {
		t.Error("a piece of it was there")
	}
	b.free()
	if err := read(&b, 30*kb); !errors.As(err, &own) {
		t.Errorf("it would be in memory twice while it is put together: %v", err)
	}
	b.free()
	if err := read(&b, 4*kb); err != nil || b.bytes != 4*kb {
		t.Errorf("%d bytes, %v", b.bytes, err)
	}
	a.free()
	b.free()
	nothingLeft(t, all)
	if err := read(&a, 1000*kb); err != nil {
		t.Errorf("alone: %v", err)
	}
	if err := read(&b, 1); err == nil {
		t.Error("beside it")
	}
	a.free()
	nothingLeft(t, all)
}

// A body is read as it is, however it comes, and one that breaks off is an error.
func TestReadBody(t *testing.T) {
	ways := map[string]func(io.Reader) io.Reader{
		"at once":   func(r io.Reader) io.Reader { return r },
		"in halves": iotest.HalfReader,
		"with EOF":  iotest.DataErrReader,
	}
	for _, n := range []int{0, 1, firstPiece, firstPiece + 1, shortBody - 1, shortBody, shortBody + 1, shortBody + 2*nextPiece, 1<<20 + 5} {
		text := make([]byte, n)
		rand.Read(text)
		for name, way := range ways {
			for _, length := range []int{n, -1} {
				h := &hold{of: newHeld(1 << 30)}
				got, err := h.read(t.Context(), way(bytes.NewReader(text)), int64(length))
				if err != nil || !bytes.Equal(got, text) || len(got) != cap(got) {
					t.Errorf("%d of %d bytes, %s: %d with room for %d, %v", n, length, name, len(got), cap(got), err)
				}
				h.free()
				cut := io.MultiReader(way(bytes.NewReader(text)), iotest.ErrReader(io.ErrUnexpectedEOF))
				more := length
				if length >= 0 {
					more++
				}
				if _, err := h.read(t.Context(), cut, int64(more)); err != io.ErrUnexpectedEOF {
					t.Errorf("%d of %d bytes, %s, broken off: %v", n, length, name, err)
				}
				h.free()
			}
			h := &hold{of: newHeld(1 << 30)}
			if _, err := h.read(t.Context(), way(bytes.NewReader(text)), int64(n+1)); err != io.ErrUnexpectedEOF && (n > 0 || err != io.EOF) {
				t.Errorf("%d bytes of one more, %s: %v", n, name, err)
			}
			h.free()
		}
	}
}

// sendSlowly has a body said to be so long be read, of which some bytes come at once, and then more
// every 50 ms. What has come is held until ctx is done; end waits for that.
func sendSlowly(ctx context.Context, all *held, said int64, at, more int) (end func()) {
	from, to := io.Pipe()
	context.AfterFunc(ctx, func() { to.CloseWithError(io.ErrUnexpectedEOF) })
	var both sync.WaitGroup
	both.Go(func() {
		h := &hold{of: all}
		defer h.free()
		_, _ = h.read(ctx, from, said)
		<-ctx.Done()
	})
	both.Go(func() {
		_, _ = to.Write(make([]byte, at))
		for more > 0 && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			_, _ = to.Write(make([]byte, more))
		}
	})
	return both.Wait
}

// Clients that say that they send long bodies take as much memory as they have sent, and a piece.
func TestSlowBodies(t *testing.T) {
	for name, c := range map[string]struct {
		said int64
		at   int
		most int64 // that each takes
	}{
		"nothing of a short one":          {64 << 10, 0, firstPiece},
		"nothing of a long one":           {1 << 20, 0, firstPiece},
		"nothing of one that may be long": {-1, 0, firstPiece},
		"a byte":                          {1 << 20, 1, firstPiece},
		"a bit more":                      {1 << 20, 5 << 10, firstPiece + nextPiece},
		"a part":                          {1 << 20, 70 << 10, firstPiece + 3*nextPiece},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := newHeld(64 << 20)
				ctx, cancel := context.WithCancel(t.Context())
				for range 500 {
					defer sendSlowly(ctx, all, c.said, c.at, 0)()
				}
				for range 2 {
					synctest.Wait()
					if n := all.bytes.Load(); n > 500*c.most || n < int64(500*min(c.at, shortBody)) {
						t.Errorf("%d KiB", n>>10)
					}
					h := &hold{of: all}
					if _, err := h.read(t.Context(), strings.NewReader("{}"), 2); err != nil {
						t.Errorf("a short one beside them: %v", err)
					}
					h.free()
					time.Sleep(time.Minute)
				}
				defer synctest.Wait()
				defer nothingLeft(t, all)
				defer synctest.Wait()
				cancel()
			})
		})
	}
}

// A long body that comes at once is not kept waiting by others that come slowly, or not at all, or
// whose clients leave.
func TestSlowBodiesDelayNobody(t *testing.T) {
	const clients = 4 * leastTurns
	for name, c := range map[string]struct {
		at, more int
		most     time.Duration
	}{
		"nothing":                  {0, 0, 0},
		"a byte at a time":         {1, 1, 0},
		"nothing for a long while": {shortBody - 1, 0, 0},
		"a part, and then nothing": {shortBody + 1, 0, clients / leastTurns * pieceTakes},
		"a part, and then slowly":  {shortBody + 1, 100, clients / leastTurns * pieceTakes},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := newHeld(math.MaxInt64)
				ctx, cancel := context.WithCancel(t.Context())
				for range clients {
					defer sendSlowly(ctx, all, 1<<20, c.at, c.more)()
				}
				defer cancel()
				synctest.Wait()
				began := time.Now()
				h := &hold{of: all}
				defer h.free()
				if _, err := h.read(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); d > c.most {
					t.Errorf("it was read after %v", d)
				}
			})
		})
	}
}

// Many clients that send long bodies at once have those in memory that have a turn, and of the
// others what needs none.
func TestManyBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, long = 1000, 1 << 20
		all := newHeld(math.MaxInt64)
		ctx, cancel := context.WithCancel(t.Context())
		var read atomic.Int64
		var done sync.WaitGroup
		for range clients {
			done.Go(func() {
				h := &hold{of: all}
				defer h.free()
				if _, err := h.read(ctx, bytes.NewReader(make([]byte, long)), long); err == nil {
					read.Add(1)
				}
				<-ctx.Done()
			})
		}
		for turns := int64(1); turns <= 2; turns++ {
			synctest.Wait()
			had := turns * leastTurns
			if n := read.Load(); n != had {
				t.Errorf("%d were read", n)
			}
			if n := all.bytes.Load(); n != had*long+(clients-had)*shortBody {
				t.Errorf("%d MiB", n>>20)
			}
			time.Sleep(turnTakes)
		}
		cancel()
		done.Wait()
		nothingLeft(t, all)
	})
}

// Long bodies take turns, in the order in which they came; what takes too long is not waited
// for.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newHeld(1 << 30)
		began := time.Now()
		var got []int // who goes on
		var mu sync.Mutex
		has := func() []int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Sorted(slices.Values(got))
		}
		holds := make([]*hold, 0, 100)
		come := func(ctx context.Context, n int64) {
			i, h := len(holds), &hold{of: all}
			holds = append(holds, h)
			go func() {
				if h.wait(ctx, n) == nil {
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		for range leastTurns {
			come(t.Context(), calmBytes) // they get one, however long they are
		}
		if n := len(has()); n != leastTurns {
			t.Fatalf("%d", n)
		}
		gone, leave := context.WithCancel(t.Context())
		come(t.Context(), longTurn)
		come(gone, 1)
		for range 3 {
			come(t.Context(), -1)
		}
		if n := len(has()); n != leastTurns {
			t.Errorf("%d have a turn", n)
		}
		leave()
		holds[3].free()
		holds[3].free()
		if all := has(); len(all) != leastTurns+1 || all[leastTurns] != leastTurns {
			t.Errorf("%v", all)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
		time.Sleep(turnTakes)
		if n := len(has()); n != leastTurns+4 {
			t.Errorf("%d", n)
		}

		// Of those that are not long there are more at a time. Those that have taken long are
		// out of the way.
		time.Sleep(turnTakes)
		for range 5 * leastTurns {
			come(t.Context(), longTurn/4)
		}
		if n := len(has()); n != 5*leastTurns+4 {
			t.Errorf("%d", n)
		}
		for _, h := range holds {
			h.free()
			synctest.Wait() // others have its turn
		}
		if n := len(has()); n != 6*leastTurns+4 {
			t.Errorf("%d", n)
		}
		nothingLeft(t, all)

		// Nobody waits longer than turnWait, however many there are in front.
		began, got, holds = time.Now(), nil, nil
		for range 10 * leastTurns {
			come(t.Context(), calmBytes)
		}
		for len(has()) < len(holds) {
			time.Sleep(time.Second)
		}
		if d := time.Since(began); d != turnWait {
			t.Errorf("the last one has waited for %v", d)
		}
	})
}

// A write that comes while another one holds all there is room for is answered 429; reads go
// on, and so do writes afterwards.
func TestTooMuchIsHeld(t *testing.T) {
	r := newRig(t, "7.17.28", "7.17.28", "8.7.1")
	r.held.most = 100
	document := `{"text":"` + strings.Repeat("x", 80) + `"}`
	inside := 0
	enter := r.Enter
	r.Enter = func(ctx context.Context, write bool) (Lease, error) {
		if inside++; inside == 1 {
			r.Enter = enter
			if w := r.do(t, "PUT", "/books/_doc/2", document); w.Code != 429 || !strings.Contains(w.Body.String(), "es_rejected_execution_exception") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := r.do(t, "GET", "/books/_doc/2", ""); w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		return enter(ctx, write)
	}
	for range 2 {
		if w := r.do(t, "PUT", "/books/_doc/1", document); w.Code >= 300 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if n := r.held.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}
