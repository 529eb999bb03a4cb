package readiness

import (
	"slices"
	"strings"
	"time"

	"github.com/esperanto-es/esperanto/translate"
)

const (
	// maxRows bounds the rows of requests, and those of compared reads. What
	// comes when there are as many is counted under the index "other".
	maxRows = 1000
	// maxOverflow bounds those for "other"; what comes then is only counted.
	maxOverflow = 500
	// otherIndex stands for the indices that were too many.
	otherIndex = "other"
)

// A rowKey is what is counted in one row.
type rowKey struct {
	Group  Group
	Change string // ID and name; "" for a request that is refused without a change
	API    string
	Index  string
}

// A row counts the requests to one index that needed a change.
type row struct {
	rowKey
	Count   uint64
	Refused uint64
	First   time.Time
	Last    time.Time
	Reason  string   `json:",omitempty"` // of the first refusal
	Example *Example `json:",omitempty"`
}

// An Example is one of the requests that needed a change, without the values that
// its user gave.
type Example struct {
	Request string `json:"request"`           // method, path and parameters
	Body    string `json:"body,omitempty"`    // keys and structure
	Sent    string `json:"sent,omitempty"`    // as the cluster takes it, if method, path or parameters differ
	At      string `json:"at,omitempty"`      // the kind of node that the change is about
	Was     string `json:"was,omitempty"`     // the node
	Becomes string `json:"becomes,omitempty"` // as the cluster takes it
}

// changeKey names a change in rows; "" names none.
func changeKey(c *translate.Change) string {
	if c == nil {
		return ""
	}
	return c.ID + " " + c.Name
}

// rows are counted rows by key.
type rows map[rowKey]*row

// add counts a request in a row, which is made if there is room for it. It
// returns nil if there is none.
func (r rows) add(key rowKey, at time.Time) *row {
	key.Index, key.API = clip(key.Index), clip(key.API)
	found := r[key]
	if found == nil && len(r) >= maxRows {
		key.Index = otherIndex
		found = r[key]
	}
	if found == nil && len(r) >= maxRows+maxOverflow {
		return nil
	}
	if found == nil {
		found = &row{rowKey: key, First: at}
		r[key] = found
	}
	found.Count++
	found.Last = at
	return found
}

// sorted are the rows, those that count most first.
func (r rows) sorted() []*row {
	all := make([]*row, 0, len(r))
	for _, one := range r {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *row) int {
		switch {
		case a.Count > b.Count:
			return -1
		case a.Count < b.Count:
			return 1
		}
		return strings.Compare(string(a.Group)+a.Change+a.Index+a.API, string(b.Group)+b.Change+b.Index+b.API)
	})
	return all
}
