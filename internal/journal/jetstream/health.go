package jetstream

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// probeAfter is how long an append waits for its acknowledgement before it asks whether the store is well.
// After a write error the server freezes the stream and answers nobody, so that without asking each append
// would wait for its deadline.
const probeAfter = 100 * time.Millisecond

// probe asks for the health of the stream, in the background: while a write is under way the server answers
// only after it. A nil on the channel means well.
func (s *Stream) probe() <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- s.health() }()
	return answer
}

func (s *Stream) healthz() error {
	h := s.store.srv.Healthz(&server.HealthzOptions{Account: account, Stream: s.name})
	if h.Status == "ok" {
		return nil
	}
	return errors.New(h.Error)
}
