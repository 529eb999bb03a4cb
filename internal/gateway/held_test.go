package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Bodies together are bounded, one alone is not; what was read of a body that is refused is
// given back.
func TestHeldBodies(t *testing.T) {
	all := &held{most: 100}
	a, b := hold{of: all}, hold{of: all}
	read := func(h *hold, n int) error {
		_, err := io.ReadAll(h.reading(strings.NewReader(strings.Repeat("x", n))))
		return err
	}
	if err := read(&a, 90); err != nil {
		t.Fatal(err)
	}
	own := new(esapi.Error)
	if err := read(&b, 20); !errors.As(err, &own) || own.Status != 429 || own.Type != "es_rejected_execution_exception" {
		t.Errorf("%v", err)
	}
	b.free()
	if err := read(&b, 10); err != nil {
		t.Error(err)
	}
	a.free()
	b.free()
	if n := all.bytes.Load(); n != 0 {
		t.Errorf("%d are left", n)
	}
	if err := read(&a, 1000); err != nil {
		t.Errorf("alone: %v", err)
	}
	if err := read(&b, 1); err == nil {
		t.Error("beside it")
	}
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
