package broker

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync/atomic"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// lockService implements LockService.
type lockService struct {
	weftv1.UnimplementedLockServiceServer
	loop      *shard.Loop
	log       *slog.Logger
	validator protovalidate.Validator
	waiters   *atomic.Uint64
}

// lockRequest is what requests of the lock service have, each where it has it.
type lockRequest interface {
	proto.Message
	GetNamespace() string
	GetName() string
}

// ask has a request decided and waits for its answer as long as the RPC lives. opens says that the request opens a session
// if it brings no holder.
func (s *lockService) ask(ctx context.Context, req lockRequest, op shard.LockOp, opens bool) (shard.LockReply, error) {
	cmd := &shard.Synchronize{
		Namespace: orDefault(req.GetNamespace()), Op: op, Ticket: s.waiters.Add(1),
		Opens: opens, NewSession: newSessionID(), Lease: leaseDefault,
	}
	if r, ok := req.(interface{ GetLease() *durationpb.Duration }); ok && r.GetLease() != nil {
		cmd.Lease = r.GetLease().AsDuration()
	}
	if r, ok := req.(interface{ GetRequestId() string }); ok && r.GetRequestId() != "" {
		cmd.Origin = lockservice.Origin{RequestID: r.GetRequestId(), Hash: lockHash(req)}
	}
	if r, ok := req.(interface{ GetHolder() *weftv1.Holder }); ok && r.GetHolder() != nil {
		h := r.GetHolder()
		cmd.Holder = lockservice.HolderID{Session: parseSession(h.GetSessionId()), Number: h.GetNumber()}
		cmd.Label = h.GetName()
		if cmd.Holder.Session.IsZero() {
			return shard.LockReply{}, statusError(noSession(h.GetSessionId()))
		}
	}
	a, err := await[shard.LockReply](ctx, s.loop, cmd, nil, &shard.AbandonLock{Ticket: cmd.Ticket})
	switch {
	case err != nil:
		return a.value, statusError(err)
	case a.err != nil:
		return a.value, statusError(a.err)
	case ctx.Err() == nil:
		return a.value, nil
	}
	if cmd.Origin.RequestID == "" { // nobody heard of it, and nobody will ask again
		_ = s.loop.Send(context.WithoutCancel(ctx), &shard.GiveBackLock{
			Namespace: cmd.Namespace, Op: op, Answer: a.value.Answer,
		}, 0, nil)
	}
	return a.value, statusError(context.Cause(ctx))
}

// lockHash is the body of a request without how long it may wait.
func lockHash(req proto.Message) (h [16]byte) {
	m := proto.Clone(req)
	if wait := m.ProtoReflect().Descriptor().Fields().ByName("wait"); wait != nil {
		m.ProtoReflect().Clear(wait)
	}
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m) // it came in as one
	sum := sha256.Sum256(append([]byte(m.ProtoReflect().Descriptor().Name()), data...))
	copy(h[:], sum[:])
	return h
}

// waitOf is how long a request may wait: unset is without a limit.
func waitOf(d *durationpb.Duration) lockservice.Wait {
	if d == nil {
		return lockservice.Wait{}
	}
	return lockservice.Wait{Timed: true, For: d.AsDuration()}
}

// grantMessage is what a request was granted; nil if that has no token.
func grantMessage(r *shard.LockReply) *weftv1.Grant {
	if r.Answer.Token == 0 {
		return nil
	}
	return &weftv1.Grant{
		Token: r.Answer.Token, SessionId: formatSession(r.Session), Lease: durationpb.New(r.Lease), Depth: r.Answer.Depth,
	}
}

// AcquireLock implements LockService.
func (s *lockService) AcquireLock(ctx context.Context, req *weftv1.AcquireLockRequest) (*weftv1.AcquireLockResponse, error) {
	r, err := s.ask(ctx, req, acquireLock(req), true)
	if err != nil {
		return nil, err
	}
	return &weftv1.AcquireLockResponse{Acquired: r.Answer.Outcome == lockservice.Done, Grant: grantMessage(&r)}, nil
}

// ReleaseLock implements LockService.
func (s *lockService) ReleaseLock(ctx context.Context, req *weftv1.ReleaseLockRequest) (*weftv1.ReleaseLockResponse, error) {
	r, err := s.ask(ctx, req, releaseLock(req), false)
	if err != nil {
		return nil, err
	}
	return &weftv1.ReleaseLockResponse{Depth: r.Answer.Depth}, nil
}

// PublishLock implements LockService.
func (s *lockService) PublishLock(ctx context.Context, req *weftv1.PublishLockRequest) (*weftv1.PublishLockResponse, error) {
	if _, err := s.ask(ctx, req, publishLock(req), false); err != nil {
		return nil, err
	}
	return &weftv1.PublishLockResponse{}, nil
}

// CheckLock implements LockService.
func (s *lockService) CheckLock(ctx context.Context, req *weftv1.CheckLockRequest) (*weftv1.CheckLockResponse, error) {
	_, err := s.loop.Do(ctx, &shard.CheckLock{
		Namespace: orDefault(req.GetNamespace()), Guard: lockservice.Guard{Lock: req.GetName(), Token: req.GetToken()},
	})
	if err != nil {
		return nil, statusError(err)
	}
	return &weftv1.CheckLockResponse{}, nil
}

// WaitCondition implements LockService.
func (s *lockService) WaitCondition(ctx context.Context, req *weftv1.WaitConditionRequest) (*weftv1.WaitConditionResponse, error) {
	r, err := s.ask(ctx, req, waitCondition(req), false)
	if err != nil {
		return nil, err
	}
	return &weftv1.WaitConditionResponse{Notified: r.Answer.Notified, Grant: grantMessage(&r)}, nil
}

// NotifyCondition implements LockService.
func (s *lockService) NotifyCondition(ctx context.Context, req *weftv1.NotifyConditionRequest) (*weftv1.NotifyConditionResponse, error) {
	r, err := s.ask(ctx, req, notifyCondition(req), false)
	if err != nil {
		return nil, err
	}
	return &weftv1.NotifyConditionResponse{Notified: uint32(r.Answer.Count)}, nil
}

// AcquireSemaphore implements LockService.
func (s *lockService) AcquireSemaphore(ctx context.Context, req *weftv1.AcquireSemaphoreRequest) (*weftv1.AcquireSemaphoreResponse, error) {
	// A free one's permits are nobody's, but whoever waits for them is somebody.
	r, err := s.ask(ctx, req, acquireSemaphore(req), true)
	if err != nil {
		return nil, err
	}
	return &weftv1.AcquireSemaphoreResponse{Acquired: r.Answer.Outcome == lockservice.Done, Grant: grantMessage(&r)}, nil
}

// ReleaseSemaphore implements LockService.
func (s *lockService) ReleaseSemaphore(ctx context.Context, req *weftv1.ReleaseSemaphoreRequest) (*weftv1.ReleaseSemaphoreResponse, error) {
	if refusal := releasable(req); refusal != nil {
		return nil, statusError(refusal)
	}
	if _, err := s.ask(ctx, req, releaseSemaphore(req), false); err != nil {
		return nil, err
	}
	return &weftv1.ReleaseSemaphoreResponse{}, nil
}

// SetEvent implements LockService.
func (s *lockService) SetEvent(ctx context.Context, req *weftv1.SetEventRequest) (*weftv1.SetEventResponse, error) {
	r, err := s.ask(ctx, req, &shard.SetEvent{Name: req.GetName(), Set: true}, false)
	if err != nil {
		return nil, err
	}
	return &weftv1.SetEventResponse{Event: eventMessage(req.GetName(), &r.Answer)}, nil
}

// ClearEvent implements LockService.
func (s *lockService) ClearEvent(ctx context.Context, req *weftv1.ClearEventRequest) (*weftv1.ClearEventResponse, error) {
	r, err := s.ask(ctx, req, &shard.SetEvent{Name: req.GetName()}, false)
	if err != nil {
		return nil, err
	}
	return &weftv1.ClearEventResponse{Event: eventMessage(req.GetName(), &r.Answer)}, nil
}

// WaitEvent implements LockService.
func (s *lockService) WaitEvent(ctx context.Context, req *weftv1.WaitEventRequest) (*weftv1.WaitEventResponse, error) {
	r, err := s.ask(ctx, req, waitEvent(req), false)
	if err != nil {
		return nil, err
	}
	return &weftv1.WaitEventResponse{Set: r.Answer.Outcome == lockservice.Done, Event: eventMessage(req.GetName(), &r.Answer)}, nil
}

// DeleteEvent implements LockService.
func (s *lockService) DeleteEvent(ctx context.Context, req *weftv1.DeleteEventRequest) (*weftv1.DeleteEventResponse, error) {
	if _, err := s.loop.Do(ctx, &shard.DeleteEvent{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()}); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.DeleteEventResponse{}, nil
}

// WaitBarrier implements LockService.
func (s *lockService) WaitBarrier(ctx context.Context, req *weftv1.WaitBarrierRequest) (*weftv1.WaitBarrierResponse, error) {
	r, err := s.ask(ctx, req, waitBarrier(req), false)
	if err != nil {
		return nil, err
	}
	return &weftv1.WaitBarrierResponse{Index: r.Answer.Index, Act: r.Answer.Act, Generation: r.Answer.Generation}, nil
}

// CompleteBarrier implements LockService.
func (s *lockService) CompleteBarrier(ctx context.Context, req *weftv1.CompleteBarrierRequest) (*weftv1.CompleteBarrierResponse, error) {
	if _, err := s.ask(ctx, req, completeBarrier(req), false); err != nil {
		return nil, err
	}
	return &weftv1.CompleteBarrierResponse{}, nil
}

// AbortBarrier implements LockService.
func (s *lockService) AbortBarrier(ctx context.Context, req *weftv1.AbortBarrierRequest) (*weftv1.AbortBarrierResponse, error) {
	if _, err := s.ask(ctx, req, &shard.BreakBarrier{Name: req.GetName()}, false); err != nil {
		return nil, err
	}
	return &weftv1.AbortBarrierResponse{}, nil
}

// ResetBarrier implements LockService.
func (s *lockService) ResetBarrier(ctx context.Context, req *weftv1.ResetBarrierRequest) (*weftv1.ResetBarrierResponse, error) {
	if _, err := s.ask(ctx, req, &shard.BreakBarrier{Name: req.GetName(), Reset: true}, false); err != nil {
		return nil, err
	}
	return &weftv1.ResetBarrierResponse{}, nil
}
