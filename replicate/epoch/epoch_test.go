package epoch

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run the model with this seed alone and print what happens")
	seedsFlag = flag.Uint64("seeds", 100, "how many seeds the model is run with")
)

const modelTime = 12 * time.Second

// Never two masters that acknowledge writes, no acknowledged write lost, both clusters
// equal at the end; whatever is killed, stopped, slow or cut off.
//
//	go test ./replicate/epoch -run TestModel$ -seeds 20000
//	go test ./replicate/epoch -run TestModel$ -seed 17 -v
func TestModel(t *testing.T) {
	if *seedFlag != 0 {
		m := newModel(*seedFlag, whole)
		m.tracing = true
		m.run(modelTime)
		t.Log(strings.Join(m.trace, "\n"))
		if len(m.wrong) > 0 {
			t.Fatalf("%.600s", m.wrong)
		}
		return
	}
	var writes, acked, refused, moves, left int
	for seed := uint64(1); seed <= *seedsFlag; seed++ {
		m := newModel(seed, whole)
		m.run(modelTime)
		if len(m.wrong) > 0 {
			t.Fatalf("seed %d: %.300s; see it with -seed %d -v", seed, m.wrong[0], seed)
		}
		for w := range m.late {
			if m.dead[w] {
				left++
			}
		}
		writes, acked, refused, moves = writes+m.writes, acked+len(m.acked), refused+m.refused, moves+m.moves
	}
	n := int(*seedsFlag)
	t.Logf("%d seeds: %d writes, %d acknowledged, %d refused by a check, %d moves of the master, %d writes of gateways that died landed late", n, writes, acked, refused, moves, left)
	if moves < 2*n || acked < 100*n || refused == 0 {
		t.Error("too little happens for this to prove anything")
	}
}

// What happens without a part of the protocol: the model finds what goes wrong. The seeds
// are those with which that is soon. noTerm and noSync are not among them: some thousand histories
// went well without them, as nearly always something else stops such a write, too.
func TestModelFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		broken breakage
		from   uint64
	}{{noSentinel, 1}, {noLate, 1}, {noAgain, 22}, {noSwap, 1}, {voteWithWrites, 573}, {noVotes, 51}, {noLease, 1}, {noCheckSend, 40}, {noCheckAnswer, 36}, {noRest, 168}} {
		b, from := c.broken, c.from
		t.Run(string(b), func(t *testing.T) {
			const most = 3000
			for seed := from; seed < from+most; seed++ {
				m := newModel(seed, b)
				m.run(modelTime)
				if len(m.wrong) > 0 {
					t.Logf("seed %d: %.200s", seed, m.wrong[0])
					return
				}
			}
			t.Errorf("%d seeds, and nothing went wrong", most)
		})
	}
}

// The same while clusters die, stop and come back, and the follower takes over.
//
//	go test ./replicate/epoch -run TestFailoverModel -seeds 20000
func TestFailoverModel(t *testing.T) {
	if *seedFlag != 0 {
		m := newFailoverModel(*seedFlag, whole)
		m.tracing = true
		m.run(modelTime)
		t.Log(strings.Join(m.trace, "\n"))
		if len(m.wrong) > 0 {
			t.Fatalf("%.600s", m.wrong)
		}
		return
	}
	var writes, acked, moves, failovers, brought, overwritten int
	seeds := *seedsFlag/4 + 1
	for seed := uint64(1); seed <= seeds; seed++ {
		m := newFailoverModel(seed, whole)
		m.run(modelTime)
		if len(m.wrong) > 0 {
			t.Fatalf("seed %d: %.300s; see it with -seed %d -v", seed, m.wrong[0], seed)
		}
		writes, acked, moves, failovers = writes+m.writes, acked+len(m.acked), moves+m.moves, failovers+m.failovers
		brought, overwritten = brought+m.brought, overwritten+len(m.overwritten)
	}
	n := int(seeds)
	t.Logf("%d seeds: %d writes, %d acknowledged, %d moves of the master, %d failovers, %d documents brought to the new master, %d writes overwritten by later ones", n, writes, acked, moves, failovers, brought, overwritten)
	if failovers < n/2 || acked < 50*n || brought < n/10 {
		t.Error("too little happens for this to prove anything")
	}
}

func TestFailoverModelFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		broken breakage
		from   uint64
	}{{noVeto, 1}, {noAside, 1}, {noHigher, 1}, {noBase, 1}, {noRejoin, 1}, {noGone, 1}, {noHold, 1}} {
		t.Run(string(c.broken), func(t *testing.T) {
			const most = 300
			for seed := c.from; seed < c.from+most; seed++ {
				m := newFailoverModel(seed, c.broken)
				m.run(modelTime)
				if len(m.wrong) > 0 {
					t.Logf("seed %d: %.200s", seed, m.wrong[0])
					return
				}
			}
			t.Errorf("%d seeds, and nothing went wrong", most)
		})
	}
}

// Only a switchover that was given up when the other cluster may have been given something
// leaves a mark, which the next ones keep until it is settled.
func TestWhatMayComeLate(t *testing.T) {
	start := State{Seq: 7, Master: "a", Epoch: 1}
	closing := start.Close("b", "me", time.Second)
	if s := closing.GiveUp(); s.Late != "" {
		t.Errorf("nothing was given yet: %+v", s)
	}
	resting := closing.Rest(300 * time.Millisecond)
	if resting.Limit() != 300*time.Millisecond {
		t.Errorf("%s", resting.Limit())
	}
	if s := resting.Move(); s.Late != "" || s.Master != "b" {
		t.Errorf("it was not given up: %+v", s)
	}
	if s := start.Fail("b", "me", time.Second).Rest(time.Second).GiveUp(); s.Late != "" {
		t.Errorf("nothing is given in a failover: %+v", s)
	}
	given := resting.GiveUp()
	if given.Late != "b" || given.LateIn != 7 || given.Closing() {
		t.Errorf("%+v", given)
	}
	given.Seq++
	if s := given.Close("b", "me", time.Second).Rest(time.Second).Move(); s.Late != "b" || s.LateIn != 7 {
		t.Errorf("it may come late all the same: %+v", s)
	}
	if s := given.Close("b", "me", time.Second).Rest(time.Second).GiveUp(); s.LateIn != 8 {
		t.Errorf("the time begins anew: %+v", s)
	}
	if s := given.Settle(); s.Late != "" || s.LateIn != 0 {
		t.Errorf("%+v", s)
	}
}
