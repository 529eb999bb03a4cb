package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// Nobody reads a request's body once its answer has been read or closed.
func TestHeldBodyEnds(t *testing.T) {
	for name, end := range map[string]func(io.ReadCloser){
		"read":   func(b io.ReadCloser) { _, _ = io.ReadAll(b) },
		"closed": func(b io.ReadCloser) { _ = b.Close() },
	} {
		body := []byte("abcdef")
		h := &heldBody{bytes: body}
		begun, later := h.reader(), h.reader()
		half := make([]byte, 3)
		if n, err := begun.Read(half); n != 3 || err != nil || string(half) != "abc" {
			t.Fatalf("%s: %q %v", name, half[:n], err)
		}
		if all, err := io.ReadAll(h.reader()); string(all) != "abcdef" || err != nil {
			t.Fatalf("%s: %q %v", name, all, err)
		}
		res := endsWith(esapi.NewResponse(200, []byte("{}")), h)
		end(res.Body)
		copy(body, "uvwxyz")
		for _, r := range []io.Reader{begun, later} {
			if got, err := io.ReadAll(r); len(got) > 0 || !errors.Is(err, errOver) {
				t.Errorf("%s: %q %v is read behind the end", name, got, err)
			}
		}
	}
	if got, err := io.ReadAll((&heldBody{}).reader()); !bytes.Equal(got, []byte{}) || err != nil {
		t.Errorf("no body: %q %v", got, err)
	}
}
