package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	redialMin = 50 * time.Millisecond
	redialMax = 2 * time.Second

	messageBytesMax = 16 << 20
	bufferBytes     = 128 << 10 // of the connection, each way: a frame of small reports in one write
	windowBytes     = 4 << 20   // a full frame without waiting for the other side
)

// connect keeps a stream open until ctx ends or the worker has said goodbye. It returns an error only
// if the broker never welcomed the worker and never will.
func (w *Worker) connect(ctx context.Context) error {
	var told complaint
	for attempt, ever := 0, false; ; attempt++ {
		welcomed, err := w.dialAndServe(ctx)
		if ctx.Err() != nil || w.isLeaving() {
			return nil
		}
		if welcomed {
			ever, attempt = true, 0
		}
		if !ever && hopeless(err) {
			return refused(err)
		}
		wait := redialWait(attempt)
		level := slog.LevelDebug // the same over and over
		if told.due(time.Now(), welcomed || attempt == 0) {
			level = slog.LevelInfo
		}
		w.log.Log(ctx, level, "no broker, trying again", "broker", w.broker(), "error", plain(err), "redial_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// complainEvery lies between two words about a broker that is still not there.
const complainEvery = 30 * time.Second

// complaint is when the absence of the broker was told last.
type complaint struct{ last time.Time }

// due reports whether it is to be told: at once when it is news, and then again and again.
func (c *complaint) due(now time.Time, news bool) bool {
	if !news && now.Sub(c.last) < complainEvery {
		return false
	}
	c.last = now
	return true
}

// setConnection notes the connection of the open stream.
func (w *Worker) setConnection(conn grpc.ClientConnInterface) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn
}

// connection is that of the open stream, nil if there is none.
func (w *Worker) connection() grpc.ClientConnInterface {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}

// broker is where the broker should be.
func (w *Worker) broker() string {
	if w.cfg.Conn != nil {
		return w.cfg.Conn.Target()
	}
	return w.cfg.Broker
}

// plain is an error of gRPC without the frames that it puts around it.
func plain(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	text := st.Message()
	if _, desc, found := strings.Cut(text, "connection error: desc = "); found {
		if inner, err := strconv.Unquote(desc); err == nil {
			text = inner
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "transport: "), "Error while dialing: ")
}

// refusedError is what the broker said to a worker that it will not have.
type refusedError struct{ status *status.Status }

// refused makes one of the error of a stream.
func refused(err error) error { return &refusedError{status.Convert(err)} }

// Error implements error.
func (e *refusedError) Error() string {
	word := e.status.Code().String()
	for _, d := range e.status.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			word = info.GetReason()
		}
	}
	return "worker: the broker refuses this worker: " + word + ": " + e.status.Message()
}

// GRPCStatus makes status.Code and status.FromError work on the error.
func (e *refusedError) GRPCStatus() *status.Status { return e.status }

// redialWait is how long to wait before dialling again, after so many attempts in a row that failed: not
// long for a broker that was restarted, and not all workers at once for one that was away.
func redialWait(failed int) time.Duration {
	if failed == 0 {
		return redialMin
	}
	wait := min(redialMin<<min(failed, 16), redialMax)
	return wait/2 + rand.N(wait/2)
}

// hopeless reports whether trying again unchanged cannot help: the broker understood and refused.
func hopeless(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return true
	default:
		return false
	}
}

// dialAndServe serves one stream, on a connection of its own unless the user gave one: what is silent
// may be the connection, and a stream on the same one would not be heard either.
func (w *Worker) dialAndServe(ctx context.Context) (welcomed bool, err error) {
	conn := w.cfg.Conn
	if conn == nil {
		if conn, err = grpc.NewClient(w.cfg.Broker, w.dialOptions()...); err != nil {
			return false, err
		}
		defer conn.Close()
	}
	conn.ResetConnectBackoff() // how often to dial is decided here
	welcomed, err = w.serve(ctx, conn)
	if !welcomed {
		w.notWelcomed()
	}
	return welcomed, err
}

func (w *Worker) dialOptions() []grpc.DialOption {
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(messageBytesMax),
			grpc.MaxCallSendMsgSize(messageBytesMax),
		),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
	}, w.cfg.DialOptions...)
}
