package replicate

import (
	"time"

	"github.com/esperanto-es/esperanto/internal/cluster"
)

// The kinds of records. docs/design/journal.md shows one of each.
const (
	kindIntent   = "intent"
	kindEffect   = "effect"
	kindState    = "state"
	kindDone     = "done"
	kindSentinel = "sentinel"
	kindResync   = "resync"
)

// stateKey is the key of state records that belong to no index.
const stateKey = "_state"

// A record is what the journal keeps: one JSON object. encode and decode say what becomes
// of its members; the names in the tags are theirs.
type record struct {
	V     int    `json:"v"`
	Kind  string `json:"kind"`
	From  string `json:"from,omitempty"` // the master at that time, by name
	Epoch uint64 `json:"epoch,omitempty"`

	// ID is the intent's own for intents and done marks, the switchover's for
	// sentinels, the document's for effects.
	ID string `json:"id,omitempty"`

	// Intent.
	Gateway string      `json:"gateway,omitempty"` // instance that wrote it
	Until   int64       `json:"until,omitempty"`   // unix ms; no later is the write under way
	Docs    []recordDoc `json:"docs,omitempty"`
	State   []asked     `json:"state,omitempty"`

	// Effect.
	Index   string `json:"index,omitempty"`
	Type    string `json:"type,omitempty"` // the mapping type, where there are types
	Routing string `json:"routing,omitempty"`
	Parent  string `json:"parent,omitempty"`
	Version int64  `json:"version,omitempty"`
	Sent    int64  `json:"sent,omitempty"`    // unix ms; no earlier was the write sent to the master, by its gateway's clock
	Deleted bool   `json:"deleted,omitempty"` // also of state
	Read    bool   `json:"read,omitempty"`    // the document is read back from the master
	Again   bool   `json:"again,omitempty"`   // the version may have been written before (external_gte)

	// State; Name is also the index of a resync.
	What string `json:"what,omitempty"`
	Name string `json:"name,omitempty"`

	// Source is the document, raw. It stands last in the record, byte for byte.
	Source []byte `json:"-"`

	made string    // the uuid of an index that a failed write has made
	at   time.Time // when it was journaled, once it was read back
}

// A recordDoc says which document an intent is about. Index is the name as
// asked: maybe an alias.
type recordDoc struct {
	Index   string `json:"index"`
	Type    string `json:"type,omitempty"`
	ID      string `json:"id"`
	Routing string `json:"routing,omitempty"`
	Parent  string `json:"parent,omitempty"`

	// On is the index that Index, an alias, stood for at the last write through it, and
	// OnRouting the routing that it brought along.
	On        string `json:"on,omitempty"`
	OnRouting string `json:"on_routing,omitempty"`

	// Taught is the type that the application writes, if the mapping of a master without
	// types did not tell it before: it is to tell it before anything of this is applied.
	Taught string `json:"taught,omitempty"`
}

func recordDocOf(id cluster.DocID) recordDoc {
	return recordDoc{Index: id.Index, Type: id.Type, ID: id.ID, Routing: id.Routing, Parent: id.Parent}
}

func (d recordDoc) docID() cluster.DocID {
	return cluster.DocID{Index: d.Index, Type: d.Type, ID: d.ID, Routing: d.Routing, Parent: d.Parent}
}

// A stateRef says which part of a cluster's state.
type stateRef struct {
	What string `json:"what"` // index, aliases, template, index_template, component_template, pipeline, script
	Name string `json:"name"`
}

// An asked is a part of the state that an intent is about.
type asked struct {
	stateRef
	UUID   string `json:"uuid,omitempty"`   // of an index that is to be deleted: which one
	Taught string `json:"taught,omitempty"` // as of a recordDoc
}

// docID is the document of an effect.
func (r *record) docID() cluster.DocID {
	return cluster.DocID{Index: r.Index, Type: r.Type, ID: r.ID, Routing: r.Routing, Parent: r.Parent}
}
