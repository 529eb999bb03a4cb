package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// A segmentRow is what the store keeps of a segment that nothing is written to any more, so
// that it needs not be read at opening. The row of one that is being removed is empty.
type segmentRow struct {
	number        uint64
	before, after uint64 // records of the journal
	end           int64  // behind the last frame
	parts         []partitionRow
}

type partitionRow struct {
	partition int
	next      int64  // offset behind the segment
	bytes     uint64 // in the partition before that
	runs      []run
}

func segmentKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte("s/"), number) }

// row makes the row of a segment. e.mu is held.
func (e *Embedded) row(s *segment) []byte {
	b := binary.AppendUvarint(nil, s.before)
	b = binary.AppendUvarint(b, s.after)
	b = binary.AppendUvarint(b, uint64(s.size))
	for i := range e.parts {
		p := &e.parts[i]
		from := sort.Search(len(p.runs), func(i int) bool { return p.runs[i].seg.number >= s.number })
		to := from
		for to < len(p.runs) && p.runs[to].seg == s {
			to++
		}
		if to == from {
			continue
		}
		next, bytes := p.next, p.bytesNext
		if to < len(p.runs) {
			next, bytes = p.runs[to].offset, p.runs[to].before
		}
		b = binary.AppendUvarint(b, uint64(i))
		b = binary.AppendUvarint(b, uint64(next))
		b = binary.AppendUvarint(b, bytes)
		b = binary.AppendUvarint(b, uint64(to-from))
		for _, r := range p.runs[from:to] {
			b = binary.AppendUvarint(b, uint64(r.offset))
			b = binary.AppendUvarint(b, r.before)
			b = binary.AppendUvarint(b, uint64(r.at))
			b = binary.AppendUvarint(b, uint64(r.end))
		}
	}
	return b
}

// decodeRow is the other way round; the runs have no segment yet.
func decodeRow(number uint64, b []byte) (r segmentRow, err error) {
	take := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errBroken, nil
			return 0
		}
		b = b[n:]
		return v
	}
	r = segmentRow{number: number, before: take(), after: take(), end: int64(take())}
	for len(b) > 0 && err == nil {
		p := partitionRow{partition: int(take()), next: int64(take()), bytes: take()}
		for n := take(); n > 0 && err == nil; n-- {
			p.runs = append(p.runs, run{offset: int64(take()), before: take(), at: int64(take()), end: int64(take())})
		}
		r.parts = append(r.parts, p)
	}
	return r, err
}

// segments returns the rows in order, and apart the numbers of segments that are being removed.
func (s *store) segments() (rows []segmentRow, removed []uint64, err error) {
	i, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte("s/"), UpperBound: []byte("s0")})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, i.Close()) }()
	for ok := i.First(); ok; ok = i.Next() {
		value, err := i.ValueAndErr()
		if err != nil {
			return nil, nil, err
		}
		if len(i.Key()) != 10 {
			return nil, nil, errBroken
		}
		number := binary.BigEndian.Uint64(i.Key()[2:])
		if len(value) == 0 {
			removed = append(removed, number)
			continue
		}
		r, err := decodeRow(number, value)
		if err != nil {
			return nil, nil, fmt.Errorf("what is stored of %s: %w", segmentName(number), err)
		}
		rows = append(rows, r)
	}
	return rows, removed, i.Error()
}
