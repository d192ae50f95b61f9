package client

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A program in another's session ends once the broker has heard all that it had to say. The broker leaves the stream open: it
// may have answers still.
func TestSyncPartsFromAnothersSession(t *testing.T) {
	t.Setenv(EnvHolder, "session:7")
	script := func(_ int, s *lockStream) error {
		s.welcome()
		for {
			m, err := s.stream.Recv()
			if errors.Is(err, io.EOF) {
				<-s.stream.Context().Done()
				return nil
			}
			if err != nil {
				return err
			}
			if m.GetGoodbye() {
				t.Error("it ends the session, which is another's")
			}
			if m.GetHeartbeat() != 0 {
				s.send(&weftv1.SynchronizeResponse{Heartbeat: m.GetHeartbeat()})
			}
			for _, cmd := range m.GetCommands() {
				a := &weftv1.SynchronizeAnswer{Number: cmd.GetNumber()}
				if cmd.GetAcquireLock() != nil {
					a.Answer = &weftv1.SynchronizeAnswer_AcquireLock{
						AcquireLock: &weftv1.AcquireLockResponse{Acquired: true, Grant: &weftv1.Grant{Token: 9, Depth: 1}},
					}
				} else {
					a.Answer = &weftv1.SynchronizeAnswer_ReleaseLock{ReleaseLock: &weftv1.ReleaseLockResponse{}}
				}
				s.answer(a)
			}
		}
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		ctx, err := HolderFromEnv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Lock("a").Do(ctx, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 0 { // on the bubble's clock
			t.Errorf("it took %v", took)
		}
	})
}
