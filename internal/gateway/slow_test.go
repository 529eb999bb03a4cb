package gateway

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// A stallingBody has some bytes, says so when they are read, and then nothing until it is broken off.
type stallingBody struct {
	io.Reader
	stalls *sync.WaitGroup
	broken <-chan struct{}
}

func (b *stallingBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	b.stalls.Done()
	<-b.broken
	return 0, io.ErrUnexpectedEOF
}

// Clients that say that they send more than has come take room in proportion to what has come, whatever
// is done with their requests.
func TestRoomForWhatHasCome(t *testing.T) {
	const clients = 200
	translated, plain := hotGateway(t, &hotCluster{}), newRig(t, "", "7.17.28", "")
	if _, err := plain.Source.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		g    *Gateway
		path string
		said int64
	}{
		"a bulk that is translated":   {translated, "/_bulk", inMemory},
		"a search that is translated": {translated, "/books/_search", inMemory},
		"a document that is gathered": {plain.Gateway, "/books/_doc/1", 64 << 10},
	} {
		for _, come := range []int{0, 1, 5 << 10, 40 << 10} {
			text := strings.Repeat("x", come)
			var stalls, over sync.WaitGroup
			broken := make(chan struct{})
			stalls.Add(clients)
			before := heap()
			for range clients {
				r := httptest.NewRequest("POST", c.path, &stallingBody{strings.NewReader(text), &stalls, broken})
				r.ContentLength = c.said
				over.Go(func() { c.g.ServeHTTP(httptest.NewRecorder(), r) })
			}
			stalls.Wait()
			each := (heap() - before) / clients
			if most := int64(16<<10 + roomGrowth*come); each > most { // a request itself takes something, too
				t.Errorf("%s, %d bytes of which have come: each takes %d bytes, more than %d", name, come, each, most)
			}
			close(broken)
			over.Wait()
		}
	}
}

// A body that comes is read as it is, however long it is and however it comes, and one that breaks off
// is an error. It takes no memory but its own, and none if its room is lent.
func TestReadIntoRoom(t *testing.T) {
	ways := map[string]func(io.Reader) io.Reader{
		"at once":   func(r io.Reader) io.Reader { return r },
		"in halves": iotest.HalfReader,
		"with EOF":  iotest.DataErrReader,
	}
	for _, n := range []int{1, firstPiece - 1, firstPiece, firstPiece + 1, 2 * firstPiece, 2*firstPiece + 1, roomGrowth*firstPiece + 1, 100 << 10, inMemory - 1, inMemory} {
		text := make([]byte, n)
		rand.Read(text)
		for name, way := range ways {
			for _, lent := range []*room{nil, {}} {
				got, err := readBody(way(bytes.NewReader(text)), n, lent)
				if err != nil || !bytes.Equal(got, text) || lent == nil && len(got) != cap(got) {
					t.Errorf("%d bytes, %s: %d with room for %d, %v", n, name, len(got), cap(got), err)
				}
				if n == inMemory {
					continue
				}
				if _, err := readBody(way(bytes.NewReader(text)), n+1, lent); err != io.ErrUnexpectedEOF {
					t.Errorf("%d bytes of one more, %s: %v", n, name, err)
				}
			}
		}
		if n > 100<<10 || raced {
			continue // there is much garbage, and with each collection the pools lose what they have
		}
		from := bytes.NewReader(text)
		for most, lent := range []*room{{}, nil} {
			read := func() {
				from.Reset(text)
				if _, err := readBody(from, n, lent); err != nil {
					t.Error(err)
				}
				if lent != nil {
					lent.give()
				}
			}
			got := testing.AllocsPerRun(100, read)
			for tries := 0; got > float64(most) && tries < 20; tries++ { // those of the rest of the process are among them
				got = min(got, testing.AllocsPerRun(100, read))
			}
			if got > float64(most) {
				t.Errorf("%d bytes take %.0f allocations, more than %d", n, got, most)
			}
		}
	}
	if _, err := readBody(strings.NewReader(""), 10, nil); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // twice: pools keep what they have once
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
