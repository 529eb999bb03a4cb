package replicate

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// idMaker makes document ids that look like Elasticsearch's own automatic ones:
// 20 characters that need no escaping in a URL, growing with time, and unique
// across gateways.
type idMaker struct {
	node [6]byte // random, per process

	mu   sync.Mutex
	last int64 // unix ms of the last id; never goes back
	seq  uint32
}

func newIDMaker() *idMaker {
	m := &idMaker{}
	rand.Read(m.node[:]) // never fails
	return m
}

// next returns a new id: 6 bytes of time, 3 of sequence, 6 of node.
func (m *idMaker) next(now time.Time) string {
	m.mu.Lock()
	ms := max(now.UnixMilli(), m.last)
	if ms > m.last {
		m.seq = 0
	} else if m.seq++; m.seq == 1<<24 {
		ms, m.seq = ms+1, 0
	}
	m.last = ms
	seq := m.seq
	m.mu.Unlock()

	var raw [15]byte
	var word [8]byte
	binary.BigEndian.PutUint64(word[:], uint64(ms))
	copy(raw[0:6], word[2:])
	binary.BigEndian.PutUint32(word[:4], seq)
	copy(raw[6:9], word[1:4])
	copy(raw[9:], m.node[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
