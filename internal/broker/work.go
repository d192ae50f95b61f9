package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	workerQueuesMax  = 100
	workerWeightMax  = 100
	workerKindsMax   = 1000
	workerSlotsMax   = 100_000
	frameReportsMax  = 1000
	frameChunksMax   = 1000
	outputChunkBytes = 64 << 10
)

// workerService implements WorkerService.
type workerService struct {
	weftv1.UnimplementedWorkerServiceServer
	loop    *shard.Loop
	log     *slog.Logger
	outputs *outputs
}

// Work implements WorkerService.
func (s *workerService) Work(stream grpc.BidiStreamingServer[weftv1.WorkRequest, weftv1.WorkResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return endOfStream(err)
	}
	cmd, refusal := helloCommand(first)
	if refusal != nil {
		return statusError(refusal)
	}
	ctx := stream.Context()
	id, err := settle[session.ID](ctx, s.loop, cmd)
	if err != nil {
		return err
	}
	link := s.outputs.connect(id, cmd.Stream)
	defer func() {
		s.outputs.disconnect(link)
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		cmd.Stream.Close(shard.ErrClosed) // it gathers nothing more, whenever the loop hears of it
		_ = s.loop.Send(gone, &shard.WorkerGone{Session: id, Stream: cmd.Stream}, 0, nil)
	}()
	go s.readWork(stream, id, cmd.Stream, link)
	return serveOutbox(ctx, s.log, cmd.Stream, &workWriter{stream: stream})
}

func helloCommand(first *weftv1.WorkRequest) (*shard.WorkerHello, *pure.Refusal) {
	h := first.GetHello()
	if h == nil {
		return nil, badFrame("hello", "is required in the first frame")
	}
	if len(first.GetReports())+len(first.GetOutput())+len(first.GetAdvances()) > 0 || first.GetCredits() > 0 || first.GetHeartbeat() != 0 ||
		first.GetDraining() || first.GetGoodbye() {
		return nil, badFrame("hello", "must stand alone in the first frame")
	}
	namespace, err := namespaceOr("hello.namespace", h.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkHello(h); err != nil {
		return nil, err
	}
	ttl, err := sessionTTL("hello.session_ttl", h.GetSessionTtl())
	if err != nil {
		return nil, err
	}
	list, err := labels("hello.labels", h.GetLabels(), labelsMax, labelBytesMax)
	if err != nil {
		return nil, err
	}
	cmd := &shard.WorkerHello{
		Hello: queue.Hello{
			Namespace: namespace, Session: parseSession(h.GetSessionId()), Name: h.GetWorker(), Queues: h.GetQueues(),
			Weights: queueWeights(h), Kinds: h.GetKinds(), Slots: h.GetSlots(), Credits: min(h.GetCredits(), h.GetSlots()), Labels: list,
		},
		NewSession: newSessionID(), TTL: ttl, Stream: shard.NewOutbox(),
	}
	for _, a := range h.GetAttempts() {
		id, ok := queue.ParseID(a.GetTaskId())
		if !ok {
			return nil, badFrame("hello.attempts.task_id", "is no task's id")
		}
		cmd.Hello.Attempts = append(cmd.Hello.Attempts, queue.Held{ID: id, Token: a.GetToken()})
	}
	return cmd, nil
}

// queueWeights are those of the hello's queues, nil if it names none.
func queueWeights(h *weftv1.WorkHello) []uint32 {
	if len(h.GetQueueWeights()) == 0 {
		return nil
	}
	weights := make([]uint32, len(h.GetQueues()))
	for i, q := range h.GetQueues() {
		weights[i] = max(h.GetQueueWeights()[q], 1)
	}
	return weights
}

func checkHello(h *weftv1.WorkHello) *pure.Refusal {
	switch {
	case len(h.GetWorker()) > sessionNameBytesMax:
		return invalid("hello.worker", "must have at most 256 bytes")
	case len(h.GetQueues()) < 1 || len(h.GetQueues()) > workerQueuesMax:
		return invalid("hello.queues", "must have 1 to 100 items")
	case len(h.GetKinds()) < 1 || len(h.GetKinds()) > workerKindsMax:
		return invalid("hello.kinds", "must have 1 to 1000 items")
	case len(h.GetQueues())*len(h.GetKinds()) > queue.SubscriptionsMax:
		return invalid("hello.queues", "times kinds must be at most 10000")
	case h.GetSlots() < 1 || h.GetSlots() > workerSlotsMax:
		return invalid("hello.slots", "must be from 1 to 100000")
	case len(h.GetAttempts()) > 2*workerSlotsMax:
		return invalid("hello.attempts", "must have at most 200000 items")
	}
	for _, q := range h.GetQueues() {
		if !nameOK(q, 1) {
			return invalid("hello.queues", nameRule)
		}
	}
	for _, k := range h.GetKinds() {
		if !nameOK(k, 1) {
			return invalid("hello.kinds", nameRule)
		}
	}
	for q, weight := range h.GetQueueWeights() {
		if !slices.Contains(h.GetQueues(), q) {
			return invalid("hello.queue_weights", "must be of queues that the worker serves")
		}
		if weight < 1 || weight > workerWeightMax {
			return invalid("hello.queue_weights", "must be from 1 to 100")
		}
	}
	return nil
}

// readWork turns a worker's frames into commands until the stream ends. It is ended by the handler's
// return, which ends Recv.
func (s *workerService) readWork(stream grpc.BidiStreamingServer[weftv1.WorkRequest, weftv1.WorkResponse], id session.ID, o *shard.Outbox, link *workerLink) {
	defer closeOnPanic(s.log, o)
	f := &workFrame{}
	for {
		err := stream.RecvMsg(f)
		if errors.Is(err, io.EOF) {
			err = shard.ErrClosed // a worker that says no more is gone
		}
		if err == nil && f.refusal != nil {
			err = f.refusal
		}
		if err != nil {
			o.Close(err)
			return
		}
		for _, chunk := range f.output {
			s.outputs.deliver(link, chunk)
		}
		f.cmd.Session, f.cmd.Stream = id, o
		if err := s.loop.Send(stream.Context(), f.cmd, f.size, nil); err != nil {
			o.Close(err)
			return
		}
	}
}

// workReport checks a report. A result that is too large fails its task: the worker cannot make it smaller
// by sending it again.
func workReport(m *weftv1.AttemptReport) (r queue.Report, err *pure.Refusal) {
	id, ok := queue.ParseID(m.GetTaskId())
	if !ok {
		return r, badFrame("reports.task_id", "is no task's id")
	}
	if m.GetEnd() < weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED || m.GetEnd() > weftv1.AttemptEnd_ATTEMPT_END_KILLED ||
		m.GetEnd() == weftv1.AttemptEnd_ATTEMPT_END_WORKER_LOST {
		return r, badFrame("reports.end", "is no end that a worker can report")
	}
	r = queue.Report{ID: id, Token: m.GetToken(), End: queue.End(m.GetEnd())}
	if r.Error, err = reportError("reports.error", m.GetError()); err != nil {
		return r, err
	}
	switch {
	case m.GetCommand() != nil:
		r.Result, r.Spooled, err = commandResult("reports.command", m.GetCommand())
	case m.GetResult() != nil:
		r.Result, err = payload("reports.result", m.GetResult())
	}
	r.Spooled = r.Spooled || m.GetSpooled()
	if err != nil && err.Reason == pure.PayloadTooLarge {
		r.Result, r.Spooled, r.End = queue.Payload{}, false, queue.EndError
		r.Error = &queue.Error{Reason: "payload", Message: err.Message, Permanent: true}
		err = nil
	}
	return r, err
}

// ListWorkers implements WorkerService.
func (s *workerService) ListWorkers(ctx context.Context, req *weftv1.ListWorkersRequest) (*weftv1.ListWorkersResponse, error) {
	after, err := pageNumber(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	all, err := do[[]queue.WorkerView](ctx, s.loop, &shard.ListWorkers{Namespace: orDefault(req.GetNamespace())})
	if err != nil {
		return nil, err
	}
	all = all[min(after, uint64(len(all))):]
	resp := &weftv1.ListWorkersResponse{}
	for i := range all {
		if i == pageSize(req.GetPageSize()) {
			resp.NextPageToken = pageToken(after + uint64(i))
			break
		}
		w := &all[i]
		resp.Workers = append(resp.Workers, &weftv1.Worker{
			Name: w.Name, Queues: w.Queues, Kinds: w.Kinds, Slots: w.Slots, Attempts: w.Attempts, Credits: w.Credits,
			Draining: w.Draining, Labels: labelMap(w.Labels),
		})
	}
	return resp, nil
}
