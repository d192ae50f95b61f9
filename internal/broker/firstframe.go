package broker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
)

// firstFrameMax is how long a stream may be open before its client says what it wants.
const firstFrameMax = 10 * time.Second

// awaitFirst bounds the wait for a stream's first frame: nothing is known of its client yet, so nothing else would
// end the stream, and a broker that stops would wait for it.
func awaitFirst(over <-chan struct{}, most time.Duration, log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		timer := time.NewTimer(most)
		defer timer.Stop()
		return next(srv, &firstStream{ServerStream: stream, over: over, late: timer.C, most: most, log: log})
	}
}

// firstStream is a stream whose first frame is awaited so.
type firstStream struct {
	grpc.ServerStream
	over <-chan struct{}
	late <-chan time.Time
	most time.Duration
	log  *slog.Logger
	had  bool
}

// RecvMsg implements grpc.ServerStream.
func (s *firstStream) RecvMsg(m any) error {
	if s.had {
		return s.ServerStream.RecvMsg(m)
	}
	s.had = true
	gotC := make(chan error, 1)
	go func() { // ended by the handler's return, which ends RecvMsg
		err := statusError(bugBeside()) // of a codec that panics
		defer func() { gotC <- err }()
		defer func() {
			if v := recover(); v != nil {
				logPanic(s.log, v)
			}
		}()
		err = s.ServerStream.RecvMsg(m)
	}()
	select {
	case err := <-gotC:
		return err
	case <-s.over:
		return statusError(shard.NotReady())
	case <-s.late:
		rule := fmt.Sprintf("must come within %v", s.most)
		return statusError(pure.Refuse(pure.BadFrame, "the first frame "+rule, "rule", rule))
	case <-s.Context().Done():
		return statusError(context.Cause(s.Context()))
	}
}

// closeOnPanic is deferred by a stream's goroutines: a bug there ends the stream, not the broker.
func closeOnPanic(log *slog.Logger, o *shard.Outbox) {
	if v := recover(); v != nil {
		logPanic(log, v)
		o.Close(bugBeside())
	}
}

func logPanic(log *slog.Logger, v any) {
	log.Error("panic beside a stream's handler", "panic", v, "stack", string(debug.Stack()))
}

func bugBeside() *pure.Refusal { return ownBug("its log tells more") }
