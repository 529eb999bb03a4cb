package replicate

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// A room is the memory that the writes of one bulk take while it is under way. It is used
// again for another bulk.
type room struct {
	writes []write
	docs   []recordDoc // of the writes
	named  []named
	ids    []byte
}

// A named is a write whose id stands among ids.
type named struct{ write, from, to int }

var rooms = sync.Pool{New: func() any { return new(room) }}

// roomDocs bounds the documents whose room is kept.
const roomDocs = 2000

// roomIDs bounds the bytes of ids whose room is kept.
const roomIDs = 256 << 10

func takeRoom() *room { return rooms.Get().(*room) }

// expect makes room for so many writes, as a start.
func (r *room) expect(n int) {
	n = min(n, intentDocs)
	r.writes, r.docs = slices.Grow(r.writes[:0], n), slices.Grow(r.docs[:0], n)
}

// give makes room for another write.
func (r *room) give(like *write) *write {
	r.docs = append(r.docs, *like.doc)
	r.writes = append(r.writes, *like)
	w := &r.writes[len(r.writes)-1]
	w.doc = &r.docs[len(r.docs)-1]
	return w
}

// name gives the last write an id, some time before settle.
func (r *room) name(id []byte) {
	from := len(r.ids)
	r.ids = append(r.ids, id...)
	r.named = append(r.named, named{len(r.writes) - 1, from, len(r.ids)})
}

// settle makes the writes what they are to be, when there are all of them. Their ids are one
// text.
func (r *room) settle() {
	ids := string(r.ids)
	for _, n := range r.named {
		r.docs[n.write].ID = ids[n.from:n.to]
	}
	for i := range r.writes {
		r.writes[i].doc = &r.docs[i]
	}
}

// giveBack lets go of all that stands in the room, which nobody may look at any more.
func (r *room) giveBack() {
	if cap(r.writes) > roomDocs || cap(r.ids) > roomIDs {
		return
	}
	clear(r.writes)
	clear(r.docs)
	r.writes, r.docs, r.named, r.ids = r.writes[:0], r.docs[:0], r.named[:0], r.ids[:0]
	rooms.Put(r)
}

// A desk is the memory in which effects are made of the answer to a bulk: several times what the
// bulk itself needs.
type desk struct {
	items   []item
	made    []record
	effects []*record
}

// desks are about as many as bulks can be worked on at a time, however many are under way.
type desks chan *desk

func newDesks() desks {
	n := max(4, 2*runtime.GOMAXPROCS(0))
	d := make(desks, n)
	for range n {
		d <- new(desk)
	}
	return d
}

// deskWait bounds the wait for a desk: a journal that is slow keeps one for longer, or a master that is asked
// about an index.
const deskWait = time.Second

// take waits for a desk. After a while it makes one that is soon thrown away: a write that
// has been carried out must not wait for long.
func (d desks) take() *desk {
	select {
	case free := <-d:
		return free
	default:
	}
	limit := time.NewTimer(deskWait)
	defer limit.Stop()
	select {
	case free := <-d:
		return free
	case <-limit.C:
		return new(desk)
	}
}

// giveBack lets go of all that lies on the desk, which nobody may look at any more.
func (d desks) giveBack(used *desk) {
	if cap(used.items) > roomDocs || cap(used.made) > roomDocs {
		used = new(desk)
	}
	clear(used.items)
	clear(used.made)
	clear(used.effects)
	select {
	case d <- used:
	default:
	}
}

// records are so many empty ones.
func (d *desk) records(n int) []record {
	if cap(d.made) < n {
		d.made = make([]record, n)
	}
	d.made = d.made[:n]
	return d.made
}
