package translate

import (
	"context"
	"sync"
	"time"
)

// A Lesson is what a write tells of an index of a cluster without types, if it succeeds:
// the type that the application uses for it. Whoever carries the write out can have it
// learned before it tells anyone what was written.
type Lesson struct {
	Index, Type string // the index as it is asked for

	once sync.Once
	err  error
}

// LearnWait bounds how long a write waits for what it tells to be learned.
const LearnWait = 5 * time.Second

type lessonsKey struct{}

// Teach returns a context for sending a request, which tells of a Lesson.
func Teach(ctx context.Context, index, mappingType string) (context.Context, *Lesson) {
	l := &Lesson{Index: index, Type: mappingType}
	before := Lessons(ctx)
	return context.WithValue(ctx, lessonsKey{}, append(before[:len(before):len(before)], l)), l
}

// Lessons are those of a request that is sent with a context.
func Lessons(ctx context.Context) []*Lesson {
	list, _ := ctx.Value(lessonsKey{}).([]*Lesson)
	return list
}

// Learn has the lesson learned, if that was not done before, and reports what
// Facts.Learn did.
func (l *Lesson) Learn(ctx context.Context, facts Facts) error {
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, LearnWait)
		defer cancel()
		l.err = facts.Learn(ctx, l.Index, l.Type)
	})
	return l.err
}
