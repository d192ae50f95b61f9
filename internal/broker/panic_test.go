package broker

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// badStream is a server's stream with a bug.
type badStream[Req, Resp any] struct {
	grpc.BidiStreamingServer[Req, Resp]
}

// RecvMsg implements grpc.ServerStream.
func (badStream[Req, Resp]) RecvMsg(any) error { panic("boom in the reader") }

// badWriter is a frameWriter with a bug.
type badWriter struct{}

func (badWriter) add(any) int { panic("boom in the writer") }

func (badWriter) send() error { return nil }

// A bug beside a stream's handler ends the stream, with an error that says whose it is, and is logged with
// the place.
func TestPanicBesideAHandler(t *testing.T) {
	for name, run := range map[string]func(*slog.Logger, *shard.Outbox){
		"boom in the reader of a client": func(log *slog.Logger, o *shard.Outbox) {
			(&taskService{log: log}).readExecute(badStream[weftv1.ExecuteRequest, weftv1.ExecuteResponse]{}, 1, o)
		},
		"boom in the reader of a worker": func(log *slog.Logger, o *shard.Outbox) {
			(&workerService{log: log}).readWork(badStream[weftv1.WorkRequest, weftv1.WorkResponse]{}, session.ID{1}, o, nil)
		},
		"boom in the writer": func(log *slog.Logger, o *shard.Outbox) {
			o.Push("x")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			begun := time.Now()
			wantRefusal(t, serveOutbox(ctx, log, o, badWriter{}), pure.Internal)
			if took := time.Since(begun); took >= lingerMax {
				t.Errorf("it waited %v for what nobody sends any more", took)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var told bytes.Buffer
			o := shard.NewOutbox()
			run(slog.New(slog.NewTextHandler(&told, nil)), o)
			<-o.Done()
			wantRefusal(t, statusError(o.Err()), pure.Internal)
			boom, _, _ := strings.Cut(name, " of a ")
			if text := told.String(); !strings.Contains(text, boom) || !strings.Contains(text, "panic_test.go") {
				t.Errorf("logged: %s", text)
			}
		})
	}
}

// Without a panic nothing is closed.
func TestNoPanicBesideAHandler(t *testing.T) {
	o := shard.NewOutbox()
	func() { defer closeOnPanic(slog.New(slog.DiscardHandler), o) }()
	if err := o.Err(); err != nil {
		t.Error(err)
	}
}
