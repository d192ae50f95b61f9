package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/journaltest"
	"github.com/weftq/weft/internal/journal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStream(t *testing.T) {
	journaltest.Run(t, func(*testing.T) journaltest.Harness {
		s := &memory.Stream{}
		return journaltest.Harness{Stream: s, Reopen: func(t *testing.T) journal.Stream {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return s
		}}
	})
}
