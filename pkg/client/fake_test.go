package client

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestMain(m *testing.M) {
	if os.Getenv(echoEnv) != "" {
		serveEcho()
		return
	}
	goleak.VerifyTestMain(m)
}

// testTimeout fails a test that hangs.
const testTimeout = 30 * time.Second

// fakeBroker is a broker whose every stream follows a script.
type fakeBroker struct {
	weftv1.UnimplementedTaskServiceServer
	weftv1.UnimplementedSessionServiceServer
	weftv1.UnimplementedQueueServiceServer

	streams  atomic.Int32
	closed   chan string // sessions that were closed
	execute  func(n int, s *fakeStream) error
	watch    func(*weftv1.WatchTaskRequest, grpc.ServerStreamingServer[weftv1.WatchTaskResponse]) error
	listener *bufconn.Listener
	tasks    weftv1.TaskServiceServer // in place of this one; nil is none
}

// Execute runs the script of the n-th stream, from 1.
func (b *fakeBroker) Execute(stream grpc.BidiStreamingServer[weftv1.ExecuteRequest, weftv1.ExecuteResponse]) error {
	return b.execute(int(b.streams.Add(1)), &fakeStream{stream: stream})
}

// WatchTask runs its script.
func (b *fakeBroker) WatchTask(
	r *weftv1.WatchTaskRequest, s grpc.ServerStreamingServer[weftv1.WatchTaskResponse],
) error {
	return b.watch(r, s)
}

// CloseSession notes the session.
func (b *fakeBroker) CloseSession(
	_ context.Context, r *weftv1.CloseSessionRequest,
) (*weftv1.CloseSessionResponse, error) {
	select {
	case b.closed <- r.GetSessionId():
	default:
	}
	return &weftv1.CloseSessionResponse{}, nil
}

// start serves the scripts and returns a client of them.
func (b *fakeBroker) start(t testing.TB, opts ...Option) *Client {
	t.Helper()
	b.closed = make(chan string, 16)
	b.listener = bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	if b.tasks == nil {
		b.tasks = b
	}
	weftv1.RegisterTaskServiceServer(server, b.tasks)
	weftv1.RegisterSessionServiceServer(server, b)
	weftv1.RegisterQueueServiceServer(server, b)
	gone := make(chan struct{})
	go func() { defer close(gone); _ = server.Serve(b.listener) }()
	opts = append([]Option{WithGRPC(
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return b.listener.DialContext(ctx)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)}, opts...)
	c, err := Dial("passthrough:///fake", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		<-gone
	})
	return c
}

// fakeStream is the broker's end of a stream, with the verbs of a script. A verb that fails ends the
// script by panicking with its error, which scripted catches.
type fakeStream struct {
	stream  grpc.BidiStreamingServer[weftv1.ExecuteRequest, weftv1.ExecuteResponse]
	tasks   []*weftv1.ExecuteTask
	acked   rangeSet
	cancels []*weftv1.ExecuteCancel
	finish  bool
	mute    bool // answers no heartbeat
}

// scriptEnd is how a verb leaves the script.
type scriptEnd struct{ err error }

// scripted turns a script of verbs into what execute wants.
func scripted(fn func(n int, s *fakeStream) error) func(int, *fakeStream) error {
	return func(n int, s *fakeStream) (err error) {
		defer func() {
			if r := recover(); r != nil {
				end, ok := r.(scriptEnd)
				if !ok {
					panic(r)
				}
				err = end.err
			}
		}()
		return fn(n, s)
	}
}

// errCut is a lost connection, as a broker that goes away tells it.
var errCut = status.Error(codes.Unavailable, "cut")

// attach receives the first frame and answers it.
func (s *fakeStream) attach(m *weftv1.ExecuteAttached) *weftv1.ExecuteAttach {
	r := s.recv()
	if m.GetSessionTtl() == nil {
		m.SessionTtl = r.GetAttach().GetSessionTtl()
	}
	if m.GetSessionTtl() == nil {
		m.SessionTtl = durationpb.New(10 * time.Second)
	}
	s.send(&weftv1.ExecuteResponse{Attached: m})
	return r.GetAttach()
}

// recv receives a frame, notes what it says and answers its heartbeat.
func (s *fakeStream) recv() *weftv1.ExecuteRequest {
	r, err := s.stream.Recv()
	if err != nil {
		panic(scriptEnd{err})
	}
	s.tasks = append(s.tasks, r.GetTasks()...)
	for _, a := range r.GetAcknowledged() {
		s.acked.addRange(indexRange{a.GetFirst(), a.GetLast()})
	}
	s.cancels = append(s.cancels, r.GetCancels()...)
	s.finish = s.finish || r.GetFinish()
	if r.GetHeartbeat() != 0 && !s.mute {
		s.send(&weftv1.ExecuteResponse{Heartbeat: r.GetHeartbeat()})
	}
	return r
}

// send sends a frame.
func (s *fakeStream) send(r *weftv1.ExecuteResponse) {
	if err := s.stream.Send(r); err != nil {
		panic(scriptEnd{err})
	}
}

// until receives frames until a condition holds.
func (s *fakeStream) until(cond func() bool) {
	for !cond() {
		s.recv()
	}
}

// untilTasks receives until so many tasks have come.
func (s *fakeStream) untilTasks(n int) { s.until(func() bool { return len(s.tasks) >= n }) }

// accept accepts a range.
func (s *fakeStream) accept(first, last uint64) {
	s.send(&weftv1.ExecuteResponse{Accepted: []*weftv1.IndexRange{{First: first, Last: last}}})
}

// succeed sends outcomes.
func (s *fakeStream) succeed(indexes ...uint64) {
	r := &weftv1.ExecuteResponse{}
	for _, i := range indexes {
		r.Outcomes = append(r.Outcomes, success(i))
	}
	s.send(r)
}

// drain receives until the client is gone.
func (s *fakeStream) drain() error {
	for {
		s.recv()
	}
}

// serveFinish accepts the end of the call.
func (s *fakeStream) serveFinish() error {
	s.until(func() bool { return s.finish })
	return nil
}

// success is an outcome whose payload is its index as text.
func success(index uint64) *weftv1.ExecuteOutcome {
	return &weftv1.ExecuteOutcome{
		Index: index, TaskId: taskName(index),
		Outcome: &weftv1.Outcome{
			State:  weftv1.TaskState_TASK_STATE_SUCCEEDED,
			End:    weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
			Result: &weftv1.Outcome_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Text{Text: taskName(index)}}},
		},
	}
}

// ranges spells ranges from pairs of indexes.
func ranges(pairs ...uint64) []*weftv1.IndexRange {
	var out []*weftv1.IndexRange
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, &weftv1.IndexRange{First: pairs[i], Last: pairs[i+1]})
	}
	return out
}

// weftError is a status with an ErrorInfo, as the broker sends it.
func weftError(reason weftv1.ErrorReason, metadata map[string]string) error {
	st, err := status.New(reasonCode(reason), "as the script says").WithDetails(
		&errdetails.ErrorInfo{Reason: reasonWord(reason), Domain: errorDomain, Metadata: metadata})
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// testContext ends before the test binary gives up.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}
