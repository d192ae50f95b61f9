package broker

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// BenchmarkTasks measures no-op tasks with 256-byte payloads there and back, fsynced: the broker, a bare
// worker and a bare client in one process over loopback.
func BenchmarkTasks(b *testing.B) {
	h := &harness{t: &testing.T{}, dir: b.TempDir()}
	h.start("127.0.0.1:0")
	defer h.stop()
	dial := func() *grpc.ClientConn {
		conn, err := grpc.NewClient(h.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(4*windowBytes))
		if err != nil {
			b.Fatal(err)
		}
		return conn
	}
	workerConn, clientConn := dial(), dial()
	defer func() { _, _ = workerConn.Close(), clientConn.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	work, err := weftv1.NewWorkerServiceClient(workerConn).Work(ctx)
	if err != nil {
		b.Fatal(err)
	}
	const slots = 2000
	_ = work.Send(&weftv1.WorkRequest{Hello: &weftv1.WorkHello{
		Queues: []string{"default"}, Kinds: []string{"noop"}, Slots: slots, Credits: slots,
	}})
	go echo(work)
	call, err := weftv1.NewTaskServiceClient(clientConn).Execute(ctx)
	if err != nil {
		b.Fatal(err)
	}
	_ = call.Send(&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "bench"}})
	b.ResetTimer()
	submit(b, call, 2000)
}

func echo(work grpc.BidiStreamingClient[weftv1.WorkRequest, weftv1.WorkResponse]) {
	for {
		m, err := work.Recv()
		if err != nil {
			return
		}
		out := &weftv1.WorkRequest{}
		for _, a := range m.GetAssignments() {
			out.Credits++
			out.Reports = append(out.Reports, &weftv1.AttemptReport{
				TaskId: a.GetTaskId(), Token: a.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
				Output: &weftv1.AttemptReport_Result{Result: a.GetPayload()},
			})
			if len(out.Reports) == 1000 {
				_ = work.Send(out)
				out = &weftv1.WorkRequest{}
			}
		}
		if out.Credits > 0 {
			_ = work.Send(out)
		}
	}
}

// submit keeps inFlight tasks under way until b.N are done.
func submit(b *testing.B, call grpc.BidiStreamingClient[weftv1.ExecuteRequest, weftv1.ExecuteResponse], inFlight int) {
	payload := text(strings.Repeat("x", 256))
	var sent atomic.Int64
	roomC := make(chan []*weftv1.IndexRange, 1000)
	go func() {
		room, acked := inFlight, []*weftv1.IndexRange(nil)
		for sent.Load() < int64(b.N) || len(acked) > 0 {
			req := &weftv1.ExecuteRequest{Acknowledged: acked}
			for n := min(room, 1000, b.N-int(sent.Load())); n > 0; n-- {
				req.Tasks = append(req.Tasks, &weftv1.ExecuteTask{Index: uint64(sent.Add(1) - 1), Spec: &weftv1.TaskSpec{
					Kind: "noop", Work: &weftv1.TaskSpec_Payload{Payload: payload},
				}})
				room--
			}
			_ = call.Send(req)
			acked = nil
			if room == 0 || sent.Load() == int64(b.N) {
				r, ok := <-roomC
				if !ok {
					return
				}
				acked = r
				for _, x := range r {
					room += int(x.GetLast() - x.GetFirst() + 1)
				}
			}
		}
	}()
	for done := 0; done < b.N; {
		m, err := call.Recv()
		if err != nil {
			b.Fatal(err)
		}
		var acked []*weftv1.IndexRange
		for _, o := range m.GetOutcomes() {
			done++
			if n := len(acked); n > 0 && acked[n-1].Last+1 == o.GetIndex() {
				acked[n-1].Last++
			} else {
				acked = append(acked, &weftv1.IndexRange{First: o.GetIndex(), Last: o.GetIndex()})
			}
		}
		if len(acked) > 0 {
			roomC <- acked
		}
	}
	close(roomC)
}
