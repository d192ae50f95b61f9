package broker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Streams whose clients have not said anything yet do not hold a broker that stops.
func TestSilentStreamsDoNotHoldTheStop(t *testing.T) {
	h := newHarness(t)
	streams := map[string]func() (grpc.ClientStream, error){
		"Execute":     func() (grpc.ClientStream, error) { return h.tasks.Execute(h.ctx()) },
		"Work":        func() (grpc.ClientStream, error) { return h.workers.Work(h.ctx()) },
		"KeepSession": func() (grpc.ClientStream, error) { return h.sessions.KeepSession(h.ctx()) },
		"reflection": func() (grpc.ClientStream, error) {
			return reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(h.ctx())
		},
		"WatchTask": func() (grpc.ClientStream, error) { // without its request
			return h.conn.NewStream(h.ctx(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, weftv1.TaskService_WatchTask_FullMethodName)
		},
	}
	open := map[string]grpc.ClientStream{}
	for name, begin := range streams {
		stream, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		open[name] = stream
	}
	h.submit("k") // behind them on the connection: the broker has them all
	begun := time.Now()
	h.stop()
	if took := time.Since(begun); took >= stopTimeout {
		t.Errorf("the stop took %v", took)
	}
	for name, stream := range open {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, stream.RecvMsg(new(weftv1.ExecuteResponse)), pure.NotReady)
		})
	}
}

// scriptedStream is a server's stream that receives as a test says.
type scriptedStream struct {
	grpc.ServerStream
	ctx  context.Context
	recv func() error
}

// Context implements grpc.ServerStream.
func (s *scriptedStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *scriptedStream) RecvMsg(any) error { return s.recv() }

// The wait for the first frame, and for no other, is bounded; it ends with the stream, and a bug ends that alone.
func TestTheFirstFrameIsAwaited(t *testing.T) {
	ended := make(chan struct{})
	defer close(ended)
	silent := func() error {
		<-ended
		return nil
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the client is gone"))
	for name, test := range map[string]struct {
		ctx  context.Context
		recv func() error
		most time.Duration
		want pure.Reason
		log  string
	}{
		"it does not come": {recv: silent, most: 1, want: pure.BadFrame},
		"a bug":            {recv: func() error { panic("boom") }, most: time.Hour, want: pure.Internal, log: "boom"},
		"it comes":         {recv: func() error { return nil }, most: time.Hour},
		"its client goes":  {ctx: gone, recv: silent, most: time.Hour, want: pure.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			if test.ctx == nil {
				test.ctx = t.Context()
			}
			var told strings.Builder
			log := slog.New(slog.NewTextHandler(&told, nil))
			stream := &scriptedStream{ctx: test.ctx, recv: test.recv}
			err := awaitFirst(nil, test.most, log)(nil, stream, nil, func(_ any, stream grpc.ServerStream) error {
				return stream.RecvMsg(nil)
			})
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, test.want)
			if !strings.Contains(told.String(), test.log) {
				t.Errorf("logged: %s", told.String())
			}
		})
	}
	t.Run("the second one", func(t *testing.T) {
		calls := 0
		stream := &scriptedStream{ctx: t.Context(), recv: func() error { calls++; return nil }}
		late := make(chan time.Time, 1)
		first := &firstStream{ServerStream: stream, late: late, log: slog.New(slog.DiscardHandler)}
		if err := first.RecvMsg(nil); err != nil {
			t.Fatal(err)
		}
		late <- time.Time{}
		if err := first.RecvMsg(nil); err != nil || calls != 2 {
			t.Errorf("%v, %d calls", err, calls)
		}
	})
}
