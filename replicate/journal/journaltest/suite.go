// Package journaltest is what every Journal has to pass. Run holds for all of
// them, RunShared for those that several processes may open at once.
package journaltest

import (
	"testing"

	"github.com/esperanto-es/esperanto/replicate/journal"
)

// An Opener opens the same journal whenever it is called, with what was
// written to it before. The caller closes it. Only an Opener given to RunShared
// is called again before the journal is closed.
type Opener func(t testing.TB, o Options) journal.Journal

// Options are limits that a test asks for; zero means the default.
type Options struct {
	MaxPendingBytes int
	MaxRecordBytes  int
}

// Run tests a kind of journal. empty is called once per test and returns an
// Opener of a journal without records and with at least four partitions.
func Run(t *testing.T, empty func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"a key's records keep the order of Append", orderPerKey},
		{"a record stands in the partition of its key", partitions},
		{"done is never called from Append", doneElsewhere},
		{"acknowledged records are there after reopening", durable},
		{"records that are appended together are kept together", together},
		{"Close waits for pending appends", closeWaits},
		{"a closed journal says so", closedRefuses},
		{"Consume goes on from the committed offset", commitAndRedelivery},
		{"Consume can be called again", consumeAgain},
		{"there is one Consume at a time", consumeOnce},
		{"an error of the handler ends Consume", handlerFails},
		{"Close ends Consume", closeEndsConsume},
		{"a blocked partition does not block the others", blockedPartition},
		{"a slow consumer gets the whole backlog in order", backlog},
		{"an append wakes the consumer", wakesUp},
		{"large records arrive", largeRecord},
		{"records that are too large are refused", tooLarge},
		{"empty keys and values arrive", emptyRecord},
		{"a full journal refuses and recovers", full},
		{"Bounds and Commit agree", bounds},
		{"Ping is nil on a sound journal", ping},
		{"tables keep the last value", tables},
		{"tables are there after reopening", tablesReopened},
		{"tables are scanned in order", tableScan},
		{"of those who swap the same value one succeeds", swaps},
		{"what was swapped is there after reopening", swapsReopened},
		{"tables refuse what they cannot keep", tableRefuses},
		{"writers and a consumer at the same time", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, empty(t)) })
	}
}
