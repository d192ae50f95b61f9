package jetstream

import (
	"context"
	"errors"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// refusePurge makes the server refuse purges, as one whose writes fail would.
func refusePurge(t *testing.T, s *Stream) {
	t.Helper()
	for last := range uint64(3) {
		if err := s.Append(t.Context(), last, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	cfg := s.config()
	cfg.DenyPurge = true
	if _, err := s.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// A purge that has failed ends with its context, although the server does not say how its store is.
func TestPurgeEndsWithItsContext(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()}).Stream(0)
	refusePurge(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	over := make(chan struct{})
	defer close(over)
	reason := errors.New("the term is over")
	s.health = func() error {
		cancel(reason) // only now: the purge has its answer
		<-over
		return nil
	}
	if err := s.Purge(ctx, 2); !errors.Is(err, reason) || errors.Is(err, journal.ErrStoreFailed) {
		t.Errorf("%v", err)
	}
}

// What the server says of its health decides whether the store has failed.
func TestPurgeThatFailsAsksForHealth(t *testing.T) {
	s := openStore(t, Config{Dir: t.TempDir()}).Stream(0)
	refusePurge(t, s)
	if err := s.Purge(t.Context(), 2); err == nil || errors.Is(err, journal.ErrStoreFailed) {
		t.Errorf("of a store that is well: %v", err)
	}
	sick := errors.New("frozen")
	s.health = func() error { return sick }
	if err := s.Purge(t.Context(), 2); !errors.Is(err, journal.ErrStoreFailed) || !errors.Is(err, sick) {
		t.Errorf("of a store that is sick: %v", err)
	}
}
