package handover

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/peek"
)

// TestGoneNow: who asks sees at once that a client has gone, and not while it is there.
func TestGoneNow(t *testing.T) {
	began, left, seen := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	address := served(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		var err error
		if peek.Gone(r.Context()) {
			err = fmt.Errorf("gone while it is there")
		}
		began <- struct{}{}
		<-left
		for end := time.Now().Add(lookEvery / 2); !peek.Gone(r.Context()); {
			if time.Now().After(end) {
				err = fmt.Errorf("not seen that it has gone")
				break
			}
		}
		seen <- err
	})
	for _, text := range []string{get, post} {
		for name, leave := range map[string]func(*net.TCPConn){
			"closed": func(c *net.TCPConn) { c.Close() },
			"half":   func(c *net.TCPConn) { c.CloseWrite() },
		} {
			c := dial(t, address)
			fmt.Fprintf(c, text, 1)
			<-began
			leave(c)
			left <- struct{}{}
			if err := <-seen; err != nil {
				t.Errorf("%.4s, %s: %v", text, name, err)
			}
		}
	}
}
