package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/esperanto-es/esperanto/tests/harness"
)

// Mark is the field with which every write of a Ledger's documents is told from
// all others: a number that is used once.
const Mark = "w"

// A State is what one write leaves of a document.
type State struct {
	Deleted bool
	Mark    int64
	Version int64 // 0 if nobody was told
	Routing string
	Source  map[string]any
}

// A Known is what the clients know of one document.
type Known struct {
	Index, ID string

	// Acked is what the last acknowledged write has left.
	Acked State

	// Highest is the highest version that an acknowledged write was told. That of Acked is lower
	// if the document was deleted and the master has forgotten that, which the other cluster need not have.
	Highest int64

	// Maybe are writes that got no answer: each may have happened, also after
	// later ones.
	Maybe []State

	// Shared documents are written by several clients at once and never deleted.
	// Acked has the highest version that one of them was told.
	Shared bool
}

// A Ledger holds what clients know of the documents that they wrote. Its methods
// may be called at the same time; a Known belongs to the client that asked for it.
type Ledger struct {
	mu   sync.Mutex
	docs map[[2]string]*Known
}

// Know returns what is known of a document, which may be nothing yet: then it is
// deleted.
func (l *Ledger) Know(index, id string) *Known {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.docs == nil {
		l.docs = map[[2]string]*Known{}
	}
	key := [2]string{index, id}
	if l.docs[key] == nil {
		l.docs[key] = &Known{Index: index, ID: id, Acked: State{Deleted: true}}
	}
	return l.docs[key]
}

// Check fails the test unless a cluster has every acknowledged write, and nothing
// that was not written. No client may write any more.
func (l *Ledger) Check(t testing.TB, c *harness.Cluster) {
	t.Helper()
	found := map[string]map[string]Document{}
	var wrong []string
	for _, k := range l.sorted() {
		if found[k.Index] == nil {
			found[k.Index] = Documents(t, c, k.Index)
		}
		d, exists := found[k.Index][k.ID]
		if problem := k.wrong(d, exists); problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s/%s: %s; on the cluster: %t %+v; acknowledged: %+v; perhaps: %+v",
				c.Version, k.Index, k.ID, problem, exists, d, k.Acked, k.Maybe))
		}
	}
	for i, text := range wrong {
		if i == mostDifferences/2 {
			t.Errorf("%s: and %d more", c.Version, len(wrong)-i)
			return
		}
		t.Error(text)
	}
}

// Exact is how many documents must be as the last acknowledged write left them,
// and of how many more one state among several is right.
func (l *Ledger) Exact() (exact, open int) {
	for _, k := range l.sorted() {
		if k.Shared || len(k.Maybe) > 0 {
			open++
		} else {
			exact++
		}
	}
	return exact, open
}

func (l *Ledger) sorted() []*Known {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Known, 0, len(l.docs))
	for _, k := range l.docs {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *Known) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID)) })
	return all
}

// wrong says what is wrong with a document as it was found, "" if nothing is.
func (k *Known) wrong(d Document, exists bool) string {
	mark := gjson.Get(d.Source, Mark).Int()
	switch {
	case k.Shared:
		return k.wrongShared(d, exists, mark)
	case len(k.Maybe) > 0:
		if k.possible(exists, mark) {
			return ""
		}
		return "nobody has written this last"
	case exists && k.Acked.Deleted:
		return "a deleted document is there again"
	case !exists && !k.Acked.Deleted:
		return "an acknowledged write is missing"
	case !exists:
		return ""
	case mark != k.Acked.Mark:
		return "it is not the last acknowledged write"
	case k.Acked.Version != 0 && d.Version != k.Acked.Version:
		return "another version"
	case d.Routing != k.Acked.Routing:
		return "another routing"
	case !sameSource(d.Source, k.Acked.Source):
		return "another source"
	}
	return ""
}

func (k *Known) wrongShared(d Document, exists bool, mark int64) string {
	switch {
	case k.Acked.Deleted: // never written
		return ""
	case !exists:
		return "an acknowledged write is missing"
	case d.Version < k.Acked.Version:
		return "an older version than an acknowledged one"
	case d.Version == k.Acked.Version && mark != k.Acked.Mark:
		return "another write under an acknowledged version"
	}
	return ""
}

// possible reports whether a document may be like this after the last
// acknowledged write and those whose outcome is not known.
func (k *Known) possible(exists bool, mark int64) bool {
	for _, s := range append(slices.Clone(k.Maybe), k.Acked) {
		if s.Deleted != exists && (!exists || s.Mark == mark) {
			return true
		}
	}
	return false
}

func sameSource(text string, want map[string]any) bool {
	var have map[string]any
	b, err := json.Marshal(want)
	if err != nil || json.Unmarshal([]byte(text), &have) != nil {
		return false
	}
	var same map[string]any
	return json.Unmarshal(b, &same) == nil && reflect.DeepEqual(have, same)
}

// Forget drops what is known of the documents of an index: it was deleted.
func (l *Ledger) Forget(index string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.docs {
		if key[0] == index {
			delete(l.docs, key)
		}
	}
}

// Of returns what is known of the documents of an index, by id.
func (l *Ledger) Of(index string) (known []*Known) {
	for _, k := range l.sorted() {
		if k.Index == index {
			known = append(known, k)
		}
	}
	return known
}
