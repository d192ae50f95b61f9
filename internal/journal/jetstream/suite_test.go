package jetstream

import (
	"testing"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/journaltest"
)

func TestStream(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Harness {
		dir := t.TempDir()
		st := openStore(t, Config{Dir: dir})
		return journaltest.Harness{Stream: st.Stream(0), Reopen: func(t *testing.T) journal.Stream {
			t.Helper()
			closeStore(t, st)
			st = openStore(t, Config{Dir: dir})
			return st.Stream(0)
		}}
	})
}

// openStore opens a store that is closed at the test's end, unless that has happened by then.
func openStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	st, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, st) })
	return st
}

func closeStore(t testing.TB, st *Store) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}
