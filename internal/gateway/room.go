package gateway

import (
	"errors"
	"io"
	"math/bits"
	"sync"
)

// A room is memory that is lent for a body, and used again for others. It is given back when
// nobody reads the body any more: for that of a bulk, neither a step of the translation nor
// whoever sends it, nor a Watcher. What is captured or gathered may be read for longer.
//
// Beside readBody and its rooms there are hold.read and its pieces, for bodies that have to be in
// memory whole, however long they are: those of writes before they are let in, and of what is
// emulated. These are counted together, and long ones are read in turns. What is read here has
// at most inMemory and is sent as soon as it has come: nothing is counted, and nobody waits.
type room struct{ b *[]byte }

// rooms are those that are not lent: each pool has those of twice the size of the one before it,
// from a first piece up to inMemory.
var rooms [roomSizes]sync.Pool

const (
	roomSizes = 9
	_         = uint(firstPiece<<(roomSizes-1) - inMemory) // the largest is enough
)

// roomIndex is the index in rooms of what is enough for so many bytes.
func roomIndex(n int) int { return bits.Len(uint(n-1) / firstPiece) }

// take lends room for n bytes, inMemory at most. nil is never given back.
func (r *room) take(n int) []byte {
	if r == nil {
		return make([]byte, n)
	}
	if r.b, _ = rooms[roomIndex(n)].Get().(*[]byte); r.b == nil {
		b := make([]byte, firstPiece<<roomIndex(n))
		r.b = &b
	}
	return (*r.b)[:n]
}

// give gives it back, if there is any.
func (r *room) give() {
	if r.b != nil {
		rooms[roomIndex(len(*r.b))].Put(r.b)
		r.b = nil
	}
}

// roomGrowth is how many times as much room as what has come of a body takes is made for it. (With 8
// a bulk of 280 KB was copied once more, a tenth of what its translation takes.)
const roomGrowth = 16

// readBody reads a body of n bytes, inMemory at most, into room that is lent or its own. Who says
// that a long one comes and sends a part of it takes room in proportion to that.
func readBody(from io.Reader, n int, lent *room) ([]byte, error) {
	var some room // of which the first bytes are, until there is room for all
	var come []byte
	for length := firstPiece; length < n; length *= roomGrowth {
		var more room
		part := more.take(length)
		copy(part, come)
		some.give()
		some = more
		if _, err := io.ReadFull(from, part[len(come):]); err != nil {
			some.give()
			return nil, brokenOff(err, len(come))
		}
		come = part
	}
	body := lent.take(n)
	copy(body, come)
	some.give()
	if _, err := io.ReadFull(from, body[len(come):]); err != nil {
		return nil, brokenOff(err, len(come))
	}
	return body, nil
}

// brokenOff is an error of io.ReadFull behind so many bytes.
func brokenOff(err error, come int) error {
	if come > 0 && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
