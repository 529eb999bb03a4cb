package replicate

import "sync"

// An intent names a document as the request does. When that is an alias, which may have
// been moved by the time the document is read back, it also says where the last write
// through it went.

// A stand is what an alias stood for when a write through it was answered.
type stand struct{ index, routing string }

// stood remembers aliases; the zero value is ready.
type stood struct {
	mu     sync.Mutex
	stands map[string]stand // by alias
}

// maxStood bounds the aliases that are remembered.
const maxStood = 10_000

func (s *stood) note(alias string, now stand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stands == nil || len(s.stands) >= maxStood {
		s.stands = map[string]stand{}
	}
	s.stands[alias] = now
}

// complete adds to documents what is remembered.
func (s *stood) complete(docs []recordDoc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stands) == 0 {
		return
	}
	for i := range docs {
		at := s.stands[docs[i].Index]
		docs[i].On, docs[i].OnRouting = at.index, at.routing
	}
}
