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
	l := listen(t)
	nobodyLooks(l)
	address := servedOn(t, l, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		var err error
		if peek.Gone(r.Context()) {
			err = fmt.Errorf("gone while it is there")
		}
		began <- struct{}{}
		<-left
		// It has left, but the end of its connection may still be on its way.
		for end := time.Now().Add(time.Minute); !peek.Gone(r.Context()); time.Sleep(time.Millisecond) {
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
