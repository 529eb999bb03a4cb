package gateways

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Two gateways, and then three: each moves the master in turn, there and back, under
// writers through all of them. No write fails.
func TestSwitchedUnderWriters(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run([]string{2: "two gateways", 3: "three gateways"}[n], func(t *testing.T) {
			f := newPatientFleet(t, n, "7.17.28", "8.7.1")
			tell, stop := f.writers(3)
			var pauses []float64
			for i := range 8 {
				time.Sleep(300 * time.Millisecond)
				to := []string{"b", "a"}[i%2]
				pauses = append(pauses, f.mustMove(f.gates[i%n], to))
				f.agree(to, uint64(i+2))
			}
			stop()
			if len(tell.fails) > 0 {
				t.Errorf("writes failed: %v", tell.fails)
			}
			slices.Sort(pauses)
			t.Logf("writes waited for, in ms: %v", pauses)
			f.check(tell)
		})
	}
}

// A gateway is stopped in the midst of writes, the master is moved without it, and it
// goes on: at the new master.
func TestStoppedOverASwitchover(t *testing.T) {
	f := newFleet(t, 3, "7.17.28", "8.7.1")
	tell, stop := f.writers(3)
	for round := range 3 {
		time.Sleep(500 * time.Millisecond)
		f.signal(f.gates[2], syscall.SIGSTOP)
		to := []string{"b", "a"}[round%2]
		began := time.Now()
		f.patiently(f.gates[round%2], to) // writes that it had under way may be so until their time is over
		t.Logf("moved to %s after %s", to, time.Since(began))
		if took := time.Since(began); took < leaseTime {
			t.Errorf("the master was moved after %s, and the lease of the stopped gateway is %s", took, leaseTime)
		}
		f.goesOn(tell, 0)
		f.signal(f.gates[2], syscall.SIGCONT)
		f.agree(to, uint64(round+2))
		f.goesOn(tell, 2)
	}
	stop()
	f.check(tell)
}

// The gateway that moves the master is killed while writes wait for it. The others go
// on with the master that was, and one of them moves it later.
func TestKilledWhileWritesWait(t *testing.T) {
	f := newFleet(t, 3, "7.17.28", "8.7.1")
	f.slow = 1 // its writes take up to a second, which a switchover waits for
	tell, stop := f.writers(2)
	late := 0 // kills behind the move
	for round := range 3 {
		master := []string{"a", "b"}[round%2]
		killed := false
		for attempt := 0; !killed; attempt++ {
			if attempt == 30 {
				t.Fatal("the gateway could not be killed while writes waited")
			}
			time.Sleep(300 * time.Millisecond)
			asked := make(chan error, 1)
			go func() {
				_, err := f.move(f.gates[0], []string{"b", "a"}[round%2])
				asked <- err
			}()
			f.until(longest, "writes wait", func() bool { return f.phase(2) != "" || len(asked) > 0 })
			if err := f.gates[0].Kill(); err != nil {
				t.Fatal(err)
			}
			if killed = f.phase(2) != ""; killed {
				f.until(longest, "nobody moves the master any more", func() bool {
					first, err1 := f.gates[1].Status(t.Context())
					second, err2 := f.gates[2].Status(t.Context())
					killed = second.Master == master
					return err1 == nil && err2 == nil && first.Phase == "" && second.Phase == ""
				})
				if !killed { // it had moved the master, and the others had only not heard of it yet: a moment
					late++
				}
				if late == 3 {
					t.Fatal("what a gateway that is gone had begun is ended by others, again and again")
				}
			}
			t.Logf("killed while writes waited: %t", killed)
			ctx, cancel := context.WithTimeout(t.Context(), longest)
			if !killed {
				if err := f.gates[0].Restart(ctx); err != nil {
					t.Fatal(err)
				}
				f.move(f.gates[2], master)
			}
			cancel()
		}
		f.goesOn(tell, 1)
		f.goesOn(tell, 2)
		for _, i := range []int{1, 2} {
			if s, err := f.gates[i].Status(t.Context()); err != nil || s.Master != master || s.Phase != "" {
				t.Errorf("gateway %d: %+v %v", i, s, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		if err := f.gates[0].Restart(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		f.goesOn(tell, 0)
		f.patiently(f.gates[1], []string{"b", "a"}[round%2])
		f.goesOn(tell, 0)
	}
	stop()
	f.check(tell)
}
