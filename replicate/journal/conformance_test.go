package journal_test

import (
	"testing"

	"github.com/esperanto-es/esperanto/replicate/journal"
	"github.com/esperanto-es/esperanto/replicate/journal/journaltest"
)

func TestEmbedded(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Opener {
		dir := t.TempDir()
		return func(t testing.TB, o journaltest.Options) journal.Journal {
			e, err := journal.OpenEmbedded(dir, journal.EmbeddedOptions{
				MaxPendingBytes: o.MaxPendingBytes,
				MaxRecordBytes:  o.MaxRecordBytes,
				Logf:            t.Logf,
			})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
	})
}
