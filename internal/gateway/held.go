package gateway

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// held bounds what the bodies of writes take in memory together: those under way, those that
// wait while the master is moved, and those that are still being read.
type held struct {
	most  int64
	bytes atomic.Int64
}

// A hold is what one request holds.
type hold struct {
	of    *held
	bytes int64
}

// take counts more bytes, unless there are too many. One body goes through however long it is.
func (h *hold) take(n int64) error {
	if sum := h.of.bytes.Add(n); sum > h.of.most && sum > h.bytes+n {
		h.of.bytes.Add(-n)
		return &esapi.Error{Status: http.StatusTooManyRequests, Type: "es_rejected_execution_exception",
			Reason: fmt.Sprintf("the bodies of writes under way take %d MiB already, of at most %d; nothing was written, try again", (sum-n)>>20, h.of.most>>20)}
	}
	h.bytes += n
	return nil
}

// free ends it.
func (h *hold) free() {
	h.of.bytes.Add(-h.bytes)
	h.bytes = 0
}

// reading takes what is read of a body.
func (h *hold) reading(from io.Reader) io.Reader { return &heldReader{h, from} }

type heldReader struct {
	*hold
	from io.Reader
}

func (r *heldReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if own := r.take(int64(n)); own != nil {
		return 0, own
	}
	return n, err
}
