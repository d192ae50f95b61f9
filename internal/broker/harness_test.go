package broker

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestMain(m *testing.M) {
	outputPatience = 3 * time.Second // waited for in full by some tests
	goleak.VerifyTestMain(m)
}

// patience bounds what must happen at all, on a machine that may be busy.
const patience = 2 * time.Minute

// harness is a broker on loopback and a connection to it.
type harness struct {
	t        *testing.T
	dir      string
	addr     Addresses
	stop     func()
	conn     *grpc.ClientConn
	tasks    weftv1.TaskServiceClient
	workers  weftv1.WorkerServiceClient
	queues   weftv1.QueueServiceClient
	sessions weftv1.SessionServiceClient
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir()}
	h.start("127.0.0.1:0")
	t.Cleanup(func() {
		_ = h.conn.Close()
		h.stop()
	})
	conn, err := grpc.NewClient(h.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)))
	if err != nil {
		t.Fatal(err)
	}
	h.conn = conn
	h.tasks, h.workers = weftv1.NewTaskServiceClient(conn), weftv1.NewWorkerServiceClient(conn)
	h.queues, h.sessions = weftv1.NewQueueServiceClient(conn), weftv1.NewSessionServiceClient(conn)
	return h
}

// start runs a broker on the harness's directory until stop is called.
func (h *harness) start(listen string) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	readyC, doneC := make(chan Addresses, 1), make(chan error, 1)
	go func() {
		doneC <- Run(ctx, Config{Listen: listen, HTTP: "127.0.0.1:0", DataDir: h.dir, Ready: func(a Addresses) { readyC <- a }})
	}()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-doneC; err != nil {
			h.t.Errorf("the broker ended with %v", err)
		}
	}
	select {
	case h.addr = <-readyC:
	case err := <-doneC:
		stopped = true
		h.t.Fatalf("the broker did not begin: %v", err)
	case <-time.After(patience):
		h.t.Fatal("the broker is not ready")
	}
}

// restart stops the broker and starts it again on the same directory and address.
func (h *harness) restart() {
	h.t.Helper()
	h.stop()
	h.start(h.addr.GRPC)
}

func (h *harness) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

func text(s string) *weftv1.Payload { return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: s}} }

// submit submits a task of a kind with a small payload and returns its id.
func (h *harness) submit(kind string) string {
	h.t.Helper()
	r, err := h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{
		Kind: kind, Work: &weftv1.TaskSpec_Payload{Payload: text("x")},
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetTaskId()
}
