package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A frame is a record as the embedded journal writes it: a header, which only
// the tail needs, and the stored value, which goes into pebble as it is.
//
//	header  head checksum 4, body checksum 4, length of the stored value 4,
//	        partition 4, offset 8, generation of the tail's file 8, records of
//	        the journal before this one 8, of them durable when it was taken 8
//	stored  time in ns 8, bytes in this partition before this record 8,
//	        length of the key 4, key, value
//
// All numbers are big endian. The head checksum covers the rest of the header
// and the first 16 bytes of the stored value, the body checksum what follows:
// so the body, which may be large, is summed outside of the journal's mutex and
// only 60 bytes inside.
type frame []byte

const (
	frameHeader  = 48
	storedHead   = 16
	storedHeader = storedHead + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBroken says that bytes are not a frame or a stored value.
var errBroken = errors.New("broken record")

// newFrame encodes what is known before the record has its place.
func newFrame(r Record) frame { return fillFrame(make(frame, frameSize(r)), r) }

// frameSize is the length of a record's frame.
func frameSize(r Record) int { return frameHeader + storedHeader + len(r.Key) + len(r.Value) }

// fillFrame is newFrame into zeroes of that length.
func fillFrame(f frame, r Record) frame {
	s := f.stored()
	binary.BigEndian.PutUint32(f[8:], uint32(len(s)))
	binary.BigEndian.PutUint32(s[16:], uint32(len(r.Key)))
	n := copy(s[storedHeader:], r.Key)
	copy(s[storedHeader+n:], r.Value)
	binary.BigEndian.PutUint32(f[4:], crc32.Checksum(s[storedHead:], castagnoli))
	return f
}

// assign fills in the record's partition.
func (f frame) assign(partition int32) { binary.BigEndian.PutUint32(f[12:], uint32(partition)) }

// place fills in the record's place in its partition. before is the number of bytes
// appended to the partition before it.
func (f frame) place(offset int64, now time.Time, before uint64) {
	binary.BigEndian.PutUint64(f[16:], uint64(offset))
	s := f.stored()
	binary.BigEndian.PutUint64(s, uint64(now.UnixNano()))
	binary.BigEndian.PutUint64(s[8:], before)
}

// seal ties the frame to its place in the tail.
func (f frame) seal(generation, before, durable uint64) {
	binary.BigEndian.PutUint64(f[24:], generation)
	binary.BigEndian.PutUint64(f[32:], before)
	binary.BigEndian.PutUint64(f[40:], durable)
	binary.BigEndian.PutUint32(f, crc32.Checksum(f[4:frameHeader+storedHead], castagnoli))
}

func (f frame) stored() []byte { return f[frameHeader:] }

func (f frame) position() Position {
	return Position{int32(binary.BigEndian.Uint32(f[12:])), int64(binary.BigEndian.Uint64(f[16:]))}
}

// before is the number of records in the journal before this one.
func (f frame) before() uint64 { return binary.BigEndian.Uint64(f[32:]) }

// durable is how many records were durable when this one was taken.
func (f frame) durable() uint64 { return binary.BigEndian.Uint64(f[40:]) }

// valid tells whether f, which is at least a header and a stored head long, was
// written completely in this generation.
func (f frame) valid(generation uint64) bool {
	return binary.BigEndian.Uint64(f[24:]) == generation &&
		binary.BigEndian.Uint32(f) == crc32.Checksum(f[4:frameHeader+storedHead], castagnoli) &&
		binary.BigEndian.Uint32(f[4:]) == crc32.Checksum(f[frameHeader+storedHead:], castagnoli)
}

// decodeStored reads a stored value back, copying what it returns.
func decodeStored(s []byte) (r Record, at time.Time, before uint64, err error) {
	if len(s) < storedHeader {
		return r, at, 0, errBroken
	}
	key := uint64(binary.BigEndian.Uint32(s[16:]))
	if storedHeader+key > uint64(len(s)) {
		return r, at, 0, errBroken
	}
	r.Key = string(s[storedHeader : storedHeader+key])
	r.Value = append([]byte{}, s[storedHeader+key:]...)
	return r, time.Unix(0, int64(binary.BigEndian.Uint64(s))), binary.BigEndian.Uint64(s[8:]), nil
}
