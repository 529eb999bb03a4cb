package replicate

import (
	"bytes"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// A likeness reads effects that differ from the one before in id, version, time and source alone,
// as those of a bulk do: what is the same, byte for byte, is not read again.
type likeness struct {
	rec     record // without id, version, time and source
	before  []byte // what stands before the id; empty if nothing is known
	between []byte // what stands between id and version
}

// sureDigits is how long a number may be that certainly fits into 64 bits.
const sureDigits = 18

// read reads a record into r and reports true, or leaves r alone. What it reads is what decode
// would.
func (l *likeness) read(r *record, b []byte) bool {
	if len(l.before) == 0 || !bytes.HasPrefix(b, l.before) {
		return false
	}
	b = b[len(l.before):]
	n := 0
	for n < len(b) && isLiteral[b[n]] {
		n++
	}
	id := b[:n]
	b = b[n:]
	if !bytes.HasPrefix(b, l.between) {
		return false
	}
	b = b[len(l.between):]
	version, b := plainNumber(b)
	if version == 0 || !bytes.HasPrefix(b, sentMember) {
		return false
	}
	sent, b := plainNumber(b[len(sentMember):])
	if sent == 0 || !bytes.HasPrefix(b, sourceMember) {
		return false
	}
	b = b[len(sourceMember):]
	c := esapi.NewCursor(b)
	source := c.Skip()
	if source == nil || string(b[c.Pos():]) != "}" {
		return false
	}
	*r = l.rec
	r.ID, r.Version, r.Sent, r.Source = string(id), version, sent, source
	return true
}

var sentMember = []byte(`,"sent":`)

// plainNumber reads a positive number and returns what stands behind it. It is 0 if there is none, or one that
// might not fit.
func plainNumber(b []byte) (number int64, rest []byte) {
	n := 0
	for n < len(b) && n < sureDigits && '0' <= b[n] && b[n] <= '9' {
		number = number*10 + int64(b[n]-'0')
		n++
	}
	if n == 0 || b[0] == '0' {
		return 0, b
	}
	return number, b[n:]
}

// learn has records that are like r read from now on.
func (l *likeness) learn(r *record) {
	if r.Kind != kindEffect || r.Source == nil || r.Sent == 0 || r.Routing != "" || r.Parent != "" || r.Deleted || r.Read || r.Again {
		return
	}
	l.rec = record{V: recordVersion, Kind: kindEffect, From: r.From, Epoch: r.Epoch, Index: r.Index, Type: r.Type}
	l.before = append(l.rec.appendHead(l.before[:0]), `,"id":"`...)
	l.between = appendMember(append(l.between[:0], '"'), `,"index":`, r.Index)
	l.between = append(appendMember(l.between, `,"type":`, r.Type), `,"version":`...)
}
