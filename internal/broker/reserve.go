package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const leaseDefault = time.Minute

// ReserveTasks implements TaskService.
func (s *taskService) ReserveTasks(ctx context.Context, req *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
	cmd, err := s.reservation(req)
	if err != nil {
		return nil, err
	}
	overC, stop := waitTimer(req.GetWait().AsDuration(), cmd.Wait)
	defer stop()
	g, err := await[shard.Reservation](ctx, s.loop, cmd, overC, &shard.ForgetReservation{Waiter: cmd.Reservation.Waiter})
	if err != nil {
		return nil, statusError(err)
	}
	return s.answer(ctx, cmd, g)
}

// answer tells what was granted, or gives it back if nobody is there to hear it. What was asked for with a
// request id stays: its client will ask again, or has already.
func (s *taskService) answer(ctx context.Context, cmd *shard.ReserveTasks, g answer[shard.Reservation]) (*weftv1.ReserveTasksResponse, error) {
	switch {
	case g.err != nil:
		return nil, statusError(g.err)
	case ctx.Err() == nil:
		return reservedMessage(g.value), nil
	}
	own := cmd.Reservation.Session.IsZero()
	if len(g.value.Tasks) > 0 && (!own || cmd.RequestID == "") {
		s.giveBack(context.WithoutCancel(ctx), cmd, g.value, own)
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
	var refusal *pure.Refusal
	if cmd.Reservation.Labels, refusal = labels("labels", req.GetLabels(), labelsMax, labelBytesMax); refusal != nil {
		return nil, statusError(refusal)
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
