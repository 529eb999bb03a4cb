package replicate

import "sync"

// A room is the memory that the writes of one bulk take until they are journaled. It is used
// again for another bulk, since it is several times what the bulk itself needs.
type room struct {
	writes  []write
	items   []item
	made    []record
	effects []*record
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// roomDocs bounds the documents whose room is kept.
const roomDocs = 2000

func takeRoom() *room { return rooms.Get().(*room) }

// records are so many empty ones.
func (r *room) records(n int) []record {
	if cap(r.made) < n {
		r.made = make([]record, n)
	}
	r.made = r.made[:n]
	return r.made
}

// giveBack lets go of all that stands in the room, which nobody may look at any more.
func (r *room) giveBack() {
	if cap(r.writes) > roomDocs || cap(r.items) > roomDocs || cap(r.made) > roomDocs {
		return
	}
	clear(r.writes)
	clear(r.items)
	clear(r.made)
	clear(r.effects)
	rooms.Put(r)
}
