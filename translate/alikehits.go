package translate

import "bytes"

// Hits are alike as the items of bulks are. Rules may look into a document or at a
// score: a hit makes a kind only if none has looked at what differs, or changed it, so
// that what becomes of the others cannot depend on it.

// maxHitKinds bounds the kinds of hits that are known at a time.
const maxHitKinds = 4

// looksAt notes that a rule looks at the value of a member or changes it, or does so with
// all of the node ("").
func (n *Node) looksAt(key string) {
	if n.looked {
		return
	}
	for i := range differing {
		if d := differing[i].key; key == "" || d[1:len(d)-1] == key {
			n.looked = true
			return
		}
	}
}

// hit visits a hit of an answer.
func (s *stream) hit(p *place) error {
	if s.buf[s.pos] != '{' || s.x.Types() != RefuseTypes || s.x.trace != nil {
		return s.any(p)
	}
	var at values
	k := &s.hits
	tries := len(k.known) > 0 && k.missed <= maxKinds+k.used // else they are all different
	if tries {
		if kind, end := k.match(s.buf, s.pos, &at); kind != nil {
			s.out = kind.appendAs(s.out, s.buf, &at)
			s.pos = end
			return s.flush(windowSize)
		}
	}
	n := s.take()
	defer s.give(n)
	raw, err := s.next(n.parseAt)
	if err != nil {
		return err
	}
	if tries {
		if kind, end := k.match(raw, 0, &at); kind != nil && end == len(raw) { // the window had a part of it
			s.out = kind.appendAs(s.out, raw, &at)
			return s.flush(windowSize)
		}
		k.missed++
	}
	from := len(s.out)
	n.watched = true
	if s.out, err = s.visit(s.out, p, n); err != nil {
		return err
	}
	if !n.looked && k.learned < maxHitKinds+k.used/maxKinds {
		s.learnHit(raw, s.out[from:len(s.out):len(s.out)])
	}
	return s.flush(windowSize)
}

// learnHit makes a kind of a hit and what it has become: no rule has looked at what
// differs, or changed it, so it stands in both.
func (s *stream) learnHit(hit, became []byte) {
	k := &s.hits
	k.learned++
	var was, is values
	room := new(struct {
		kind
		is, becomes [len(differing) + 1]piece
	})
	found := &room.kind
	found.is = piecesOf(room.is[:0], hit, 0, len(hit)-1, len(differing), &was)
	found.becomes = piecesOf(room.becomes[:0], became, 0, len(became)-1, len(differing), &is)
	if len(found.is) == 0 || len(found.becomes) == 0 {
		return
	}
	for n := range was {
		if !bytes.Equal(hit[was[n].from:was[n].to], became[is[n].from:is[n].to]) {
			return
		}
	}
	if s.w != nil { // their room is used again
		found.own()
	}
	if len(k.known) < maxHitKinds {
		k.known = append(k.known, found)
		return
	}
	k.known[k.next%maxHitKinds] = found
	k.next++
}

// own has the pieces in room of their own.
func (k *kind) own() {
	for _, pieces := range [][]piece{k.is, k.becomes} {
		for i := range pieces {
			pieces[i].text = bytes.Clone(pieces[i].text)
		}
	}
}
