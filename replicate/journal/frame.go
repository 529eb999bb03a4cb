package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A frame is a record, or several of one partition, as the embedded journal writes them to its
// log: a header, and the stored value, which goes into pebble as it is if it has to go there.
//
//	header  head checksum 4, body checksum 4, length of the stored value 4,
//	        partition 4, offset of the first record 8, number of the segment 8, records
//	        of the journal before this one 8, of them durable when it was taken 8
//	stored  time in ns 8, bytes in this partition before this frame 8, then
//	        of one record: length of the key 4, key, value
//	        of several: their number 4 with the highest bit set, then of each length of the
//	        key 4, length of the value 4, key, value
//
// All numbers are big endian. The head checksum covers the rest of the header
// and the first 16 bytes of the stored value, the body checksum what follows:
// so the body, which may be large, is summed outside of the journal's mutex and
// only 60 bytes inside.
type frame []byte

const (
	frameHeader  = 48
	numberAt     = 24
	storedHead   = 16
	storedHeader = storedHead + 4
	recordHeader = 8       // of each of several
	several      = 1 << 31 // in the place of a key's length, which is shorter
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBroken says that bytes are not a frame or a stored value.
var errBroken = errors.New("broken record")

// frameBytes is the length of the frame of a record.
func frameBytes(r Record) int { return frameHeader + storedHeader + len(r.Key) + len(r.Value) }

// newFrame encodes, in memory of frameBytes, what is known before the record has its place.
func newFrame(memory []byte, r Record) frame {
	f := frame(memory)
	s := f.stored()
	binary.BigEndian.PutUint32(s[storedHead:], uint32(len(r.Key)))
	n := copy(s[storedHeader:], r.Key)
	copy(s[storedHeader+n:], r.Value)
	f.sum()
	return f
}

// roomForAll is the length of the frame of several records, of which it is told one by one.
func roomForAll(before int, r Record) int {
	if before == 0 {
		before = frameHeader + storedHeader
	}
	return before + recordHeader + len(r.Key) + len(r.Value)
}

// startAll begins the frame of several records in f, whose bytes are overwritten. add adds
// them, and sum ends it.
func (f frame) startAll() frame {
	f = f[:frameHeader+storedHeader]
	binary.BigEndian.PutUint32(f.stored()[storedHead:], several)
	return f
}

func (f frame) add(r Record) frame {
	f = binary.BigEndian.AppendUint32(f, uint32(len(r.Key)))
	f = binary.BigEndian.AppendUint32(f, uint32(len(r.Value)))
	f = append(append(f, r.Key...), r.Value...)
	s := f.stored()
	binary.BigEndian.PutUint32(s[storedHead:], binary.BigEndian.Uint32(s[storedHead:])+1)
	return f
}

// sum fills in what follows from the body.
func (f frame) sum() {
	s := f.stored()
	binary.BigEndian.PutUint32(f[8:], uint32(len(s)))
	binary.BigEndian.PutUint32(f[4:], crc32.Checksum(s[storedHead:], castagnoli))
}

// records is how many there are.
func (f frame) records() int64 {
	if n := binary.BigEndian.Uint32(f[frameHeader+storedHead:]); n&several != 0 {
		return int64(n &^ several)
	}
	return 1
}

// assign fills in the partition.
func (f frame) assign(partition int32) { binary.BigEndian.PutUint32(f[12:], uint32(partition)) }

// place fills in the place in the partition. before is the number of bytes
// appended to the partition before it.
func (f frame) place(offset int64, now time.Time, before uint64) {
	binary.BigEndian.PutUint64(f[16:], uint64(offset))
	s := f.stored()
	binary.BigEndian.PutUint64(s, uint64(now.UnixNano()))
	binary.BigEndian.PutUint64(s[8:], before)
}

// seal ties the frame to its place in the log.
func (f frame) seal(number, before, durable uint64) {
	binary.BigEndian.PutUint64(f[numberAt:], number)
	binary.BigEndian.PutUint64(f[32:], before)
	binary.BigEndian.PutUint64(f[40:], durable)
	binary.BigEndian.PutUint32(f, crc32.Checksum(f[4:frameHeader+storedHead], castagnoli))
}

func (f frame) stored() []byte { return f[frameHeader:] }

// position is that of the first record.
func (f frame) position() Position {
	return Position{int32(binary.BigEndian.Uint32(f[12:])), int64(binary.BigEndian.Uint64(f[16:]))}
}

// before is the number of records in the journal before this one.
func (f frame) before() uint64 { return binary.BigEndian.Uint64(f[32:]) }

// bytesBefore is the number of bytes appended to the partition before this one.
func (f frame) bytesBefore() uint64 { return binary.BigEndian.Uint64(f[frameHeader+8:]) }

// durable is how many records were durable when this one was taken.
func (f frame) durable() uint64 { return binary.BigEndian.Uint64(f[40:]) }

// length is that of the whole frame.
func (f frame) length() int64 { return frameHeader + int64(binary.BigEndian.Uint32(f[8:])) }

// headValid tells whether f, which is at least a header and a stored head long, begins as a
// frame of this segment does.
func (f frame) headValid(number uint64) bool {
	return binary.BigEndian.Uint64(f[numberAt:]) == number &&
		binary.BigEndian.Uint32(f) == crc32.Checksum(f[4:frameHeader+storedHead], castagnoli)
}

// bodyValid tells whether the rest of f, whose head is valid, was written completely.
func (f frame) bodyValid() bool {
	return binary.BigEndian.Uint32(f[4:]) == crc32.Checksum(f[frameHeader+storedHead:], castagnoli)
}

// decodeStored appends the records of a stored value, which it copies, to some.
func decodeStored(to []Record, s []byte) (records []Record, at time.Time, before uint64, err error) {
	if len(s) < storedHeader {
		return nil, at, 0, errBroken
	}
	at, before = time.Unix(0, int64(binary.BigEndian.Uint64(s))), binary.BigEndian.Uint64(s[8:])
	n := binary.BigEndian.Uint32(s[storedHead:])
	body := bytes.Clone(s[storedHeader:])
	if n&several == 0 {
		r, _, err := cutRecord(body, n, len(body)-int(n), "")
		return append(to, r), at, before, err
	}
	key := ""
	for range n &^ several {
		if len(body) < recordHeader {
			return nil, at, 0, errBroken
		}
		var r Record
		if r, body, err = cutRecord(body[recordHeader:], binary.BigEndian.Uint32(body), int(binary.BigEndian.Uint32(body[4:])), key); err != nil {
			return nil, at, 0, err
		}
		key = r.Key
		to = append(to, r)
	}
	if n == several || len(body) > 0 {
		return nil, at, 0, errBroken
	}
	return to, at, before, nil
}

// cutRecord takes a record off the bytes. It takes no memory for a key that is known.
func cutRecord(b []byte, key uint32, value int, known string) (r Record, rest []byte, err error) {
	if value < 0 || uint64(key)+uint64(value) > uint64(len(b)) {
		return r, nil, errBroken
	}
	if r.Key = known; string(b[:key]) != known {
		r.Key = string(b[:key])
	}
	end := int(key) + value
	r.Value = b[key:end:end]
	return r, b[end:], nil
}
