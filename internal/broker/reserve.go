package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const leaseDefault = time.Minute

// granted is the answer to a reservation.
type granted struct {
	shard.Reservation
	err error
}

// ReserveTasks implements TaskService.
func (s *taskService) ReserveTasks(ctx context.Context, req *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
	cmd, err := s.reservation(req)
	if err != nil {
		return nil, err
	}
	answerC := make(chan granted, 1)
	err = s.loop.Send(ctx, cmd, 0, func(value any, err error) {
		r, _ := value.(shard.Reservation)
		select {
		case answerC <- granted{r, err}:
		default: // a term that ends by a panic may answer twice
		}
	})
	if err != nil {
		return nil, statusError(err)
	}
	var overC <-chan time.Time
	if cmd.Wait {
		patience := time.NewTimer(req.GetWait().AsDuration())
		defer patience.Stop()
		overC = patience.C
	}
	select {
	case g := <-answerC:
		return s.answer(ctx, cmd, g)
	case <-overC:
	case <-ctx.Done():
	}
	// It may have been granted at the same moment. There is an answer for certain, also when the term is
	// over and nothing can be forgotten.
	_ = s.loop.Send(context.WithoutCancel(ctx), &shard.ForgetReservation{Waiter: cmd.Reservation.Waiter}, 0, nil)
	return s.answer(ctx, cmd, <-answerC)
}

// answer tells what was granted, or gives it back if nobody is there to hear it. What was asked for with a
// request id stays: its client will ask again, or has already.
func (s *taskService) answer(ctx context.Context, cmd *shard.ReserveTasks, g granted) (*weftv1.ReserveTasksResponse, error) {
	switch {
	case g.err != nil:
		return nil, statusError(g.err)
	case ctx.Err() == nil:
		return reservedMessage(g.Reservation), nil
	}
	own := cmd.Reservation.Session.IsZero()
	if len(g.Tasks) > 0 && (!own || cmd.RequestID == "") {
		s.giveBack(context.WithoutCancel(ctx), cmd, g.Reservation, own)
	}
	return nil, statusError(context.Cause(ctx))
}

func (s *taskService) giveBack(ctx context.Context, cmd *shard.ReserveTasks, r shard.Reservation, own bool) {
	namespace := cmd.Reservation.Namespace
	if own {
		_ = s.loop.Send(ctx, &shard.CloseSession{Namespace: namespace, ID: r.Session}, 0, nil)
		return
	}
	for _, t := range r.Tasks {
		_ = s.loop.Send(ctx, &shard.ReportTask{
			Namespace: namespace, Report: queue.Report{ID: t.ID, Token: t.Token, End: queue.EndReleased},
		}, 0, nil)
	}
}

func (s *taskService) reservation(req *weftv1.ReserveTasksRequest) (*shard.ReserveTasks, error) {
	cmd := &shard.ReserveTasks{
		Reservation: queue.Reservation{
			Waiter: s.waiters.Add(1), Namespace: orDefault(req.GetNamespace()), Queue: orDefault(req.GetQueue()),
			Kinds: req.GetKinds(), TasksMax: max(int(req.GetTasksMax()), 1),
		},
		NewSession: newSessionID(), Lease: leaseDefault, RequestID: req.GetRequestId(),
		RequestHash: requestHash(req), Wait: req.GetWait().AsDuration() > 0,
	}
	if req.GetLease() != nil {
		cmd.Lease = req.GetLease().AsDuration()
	}
	if req.GetSessionId() == "" {
		return cmd, nil
	}
	if req.GetLease() != nil {
		return nil, statusError(invalid("lease", "must not be set beside session_id"))
	}
	if cmd.Reservation.Session = parseSession(req.GetSessionId()); cmd.Reservation.Session.IsZero() {
		return nil, statusError(noSession(req.GetSessionId()))
	}
	return cmd, nil
}

// requestHash is the body of a request without how long it may wait.
func requestHash(req *weftv1.ReserveTasksRequest) (h [16]byte) {
	m := proto.Clone(req).(*weftv1.ReserveTasksRequest)
	m.Wait = nil
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m) // it came in as one
	sum := sha256.Sum256(data)
	copy(h[:], sum[:])
	return h
}

func reservedMessage(r shard.Reservation) *weftv1.ReserveTasksResponse {
	resp := &weftv1.ReserveTasksResponse{}
	if len(r.Tasks) > 0 {
		resp.SessionId, resp.Lease = formatSession(r.Session), durationpb.New(r.Lease)
	}
	for i := range r.Tasks {
		resp.Tasks = append(resp.Tasks, assignmentMessage(&r.Tasks[i]))
	}
	return resp
}
