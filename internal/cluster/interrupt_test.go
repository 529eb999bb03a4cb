package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
	"github.com/esperanto-es/esperanto/internal/estest"
)

// What is under way when a cluster is taken for down ends, and what comes later is not sent,
// until it is not taken for down any more. Whether it answers can be asked all the time.
func TestInterrupt(t *testing.T) {
	fake := estest.New(esapi.V(8, 7))
	c := New("a", fake, Options{})
	defer c.Close()
	fake.Faults(func(*esapi.Request) estest.Fault { return estest.Fault{Delay: time.Hour} })
	ended := make(chan error)
	go func() {
		_, _, err := c.Do(context.Background(), "GET", "/", nil)
		ended <- err
	}()
	for fake.Requests() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Interrupt()
	if err := <-ended; !errors.Is(err, ErrInterrupted) {
		t.Errorf("it ended with %v", err)
	}
	fake.Faults(nil)
	before := fake.Requests()
	if _, _, err := c.Do(t.Context(), "GET", "/", nil); !errors.Is(err, ErrInterrupted) || !errors.Is(err, esapi.ErrNotSent) || fake.Requests() != before {
		t.Errorf("what comes later: %v", err)
	}
	if status, _, err := c.Do(Probing(t.Context()), "GET", "/", nil); err != nil || status != 200 {
		t.Errorf("%d %v", status, err)
	}
	c.Resume()
	if status, _, err := c.Do(t.Context(), "GET", "/", nil); err != nil || status != 200 {
		t.Errorf("%d %v", status, err)
	}
}

// Whoever has waited for a request's context sees it ended, with an error, once the request is.
func TestReleased(t *testing.T) {
	for _, ctx := range []context.Context{t.Context(), Probing(t.Context())} {
		var i interrupts
		in, err := i.bound(ctx)
		if err != nil {
			t.Fatal(err)
		}
		child, cancel := context.WithCancel(in)
		defer cancel()
		in.release()
		<-in.Done()
		<-child.Done()
		if !errors.Is(in.Err(), context.Canceled) || !errors.Is(child.Err(), context.Canceled) {
			t.Errorf("it ended with %v, what depends on it with %v", in.Err(), child.Err())
		}
	}
}

// The error of a context stays what it was first.
func TestReleasedLate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	var i interrupts
	in, err := i.bound(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in.release()
	if !errors.Is(in.Err(), context.DeadlineExceeded) {
		t.Errorf("it ended with %v", in.Err())
	}
}
