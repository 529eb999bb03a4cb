package readiness

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/esperanto-es/esperanto/internal/esapi"
)

// state is what a Watch knows, and what its file keeps.
type state struct {
	From, To string // the versions that it is about
	Since    time.Time
	Last     time.Time // when a request was looked at last

	Looked    uint64 // requests that were looked at
	Needing   uint64 // of them: those that the application has to change
	Skipped   uint64 // beyond what is looked at in a second
	Dropped   uint64 // as the queue was full
	TooLarge  uint64 // whose body was not kept
	Unknown   uint64 // as a cluster could not be asked
	Uncounted uint64 // as there were too many rows

	Rows     rows `json:"-"`
	Compared compared
}

// kept is the file's form: a map cannot have rows as keys.
type kept struct {
	Format int
	state
	Rows []*row
	Diff []*diffRow
}

// keptFormat counts up when the file's form changes; files of another one are
// not read.
const keptFormat = 1

func newState() state {
	return state{Since: time.Now().UTC().Truncate(time.Second), Rows: rows{}, Compared: compared{rows: map[diffKey]*diffRow{}}}
}

// begin makes sure that what is known is about these two versions; if it is about
// others it begins anew.
func (w *Watch) begin(from, to esapi.Version) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.From == from.Short() && w.state.To == to.Short() {
		return
	}
	if w.state.From != "" {
		w.Logger.Info("the readiness report begins anew: the versions have changed", "from", from, "to", to)
		w.state = newState()
	}
	w.state.From, w.state.To, w.dirty = from.Short(), to.Short(), true
}

// now is the state with what requests have counted.
func (w *Watch) now() *state {
	w.state.Skipped += w.skipped.Swap(0)
	w.state.Dropped += w.dropped.Swap(0)
	if w.compare != nil {
		w.state.Compared.Dropped += w.compare.dropped.Swap(0)
	}
	return &w.state
}

// Reset forgets everything.
func (w *Watch) Reset() {
	w.mu.Lock()
	from, to := w.state.From, w.state.To
	w.now() // what was counted is forgotten, too
	w.state = newState()
	w.state.From, w.state.To = from, to
	w.dirty = true
	w.mu.Unlock()
	w.save()
}

// load reads the file. What cannot be read is not kept: the report begins anew.
func (w *Watch) load() state {
	fresh := newState()
	if w.File == "" {
		return fresh
	}
	raw, err := os.ReadFile(w.File)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(raw, &k)
	}
	if err == nil && k.Format != keptFormat {
		err = errors.New("it was written by another version")
	}
	if err != nil {
		w.Logger.Warn("the readiness report begins anew: its file cannot be read", "file", w.File, "reason", err)
		return fresh
	}
	s := k.state
	s.Rows, s.Compared.rows = rows{}, map[diffKey]*diffRow{}
	for _, r := range k.Rows {
		if r != nil && len(s.Rows) < maxRows+maxOverflow {
			s.Rows[r.rowKey] = r
		}
	}
	for _, r := range k.Diff {
		if r != nil && len(s.Compared.rows) < maxRows {
			s.Compared.rows[r.diffKey] = r
		}
	}
	return s
}

// save writes the file if there is anything new, so that it is whole at any
// moment.
func (w *Watch) save() {
	w.mu.Lock()
	if !w.dirty || w.File == "" {
		w.mu.Unlock()
		return
	}
	s := w.now()
	k := kept{Format: keptFormat, state: *s, Rows: s.Rows.sorted(), Diff: s.Compared.sorted()}
	raw, err := json.Marshal(k)
	w.dirty = false
	w.mu.Unlock()

	if err == nil {
		err = replaceFile(w.File, raw)
	}
	if err != nil {
		w.Logger.Warn("the readiness report cannot be kept", "file", w.File, "reason", err)
	}
}

func replaceFile(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
