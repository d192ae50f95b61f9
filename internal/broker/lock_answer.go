package broker

import (
	"errors"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// answerMessage is the answer to a stream's command.
func answerMessage(e *shard.LockAnswered) *weftv1.SynchronizeAnswer {
	m := &weftv1.SynchronizeAnswer{Number: e.Number}
	a := &e.Reply.Answer
	switch {
	case e.Err != nil:
		m.Answer = &weftv1.SynchronizeAnswer_Refused{Refused: synchronizeRefusal(e.Err)}
	case e.Since != 0:
		m.Answer = &weftv1.SynchronizeAnswer_WaitsSince{WaitsSince: e.Since}
	case a.Outcome == lockservice.Abandoned:
		m.Answer = &weftv1.SynchronizeAnswer_Abandoned{Abandoned: true}
	default:
		answerTo(m, e.Op, a)
	}
	return m
}

func synchronizeRefusal(err error) *weftv1.SynchronizeRefusal {
	refusal := ownBug("a refusal without a reason")
	if r, ok := errors.AsType[*pure.Refusal](err); ok {
		refusal = r
	}
	return &weftv1.SynchronizeRefusal{Reason: reasonEnum(refusal.Reason), Message: refusal.Message, Metadata: metadata(refusal)}
}

// streamGrant is a grant on a stream, whose session the client knows.
func streamGrant(a *lockservice.Answer) *weftv1.Grant {
	if a.Token == 0 {
		return nil
	}
	return &weftv1.Grant{Token: a.Token, Depth: a.Depth}
}

func answerTo(m *weftv1.SynchronizeAnswer, op shard.LockOp, a *lockservice.Answer) {
	done := a.Outcome == lockservice.Done
	switch op := op.(type) {
	case *shard.AcquireLock:
		m.Answer = &weftv1.SynchronizeAnswer_AcquireLock{AcquireLock: &weftv1.AcquireLockResponse{Acquired: done, Grant: streamGrant(a)}}
	case *shard.ReleaseLock:
		m.Answer = &weftv1.SynchronizeAnswer_ReleaseLock{ReleaseLock: &weftv1.ReleaseLockResponse{Depth: a.Depth}}
	case *shard.PublishLock:
		m.Answer = &weftv1.SynchronizeAnswer_PublishLock{PublishLock: &weftv1.PublishLockResponse{}}
	case *shard.WaitCondition:
		m.Answer = &weftv1.SynchronizeAnswer_WaitCondition{
			WaitCondition: &weftv1.WaitConditionResponse{Notified: a.Notified, Grant: streamGrant(a)},
		}
	case *shard.NotifyCondition:
		m.Answer = &weftv1.SynchronizeAnswer_NotifyCondition{NotifyCondition: &weftv1.NotifyConditionResponse{Notified: uint32(a.Count)}}
	case *shard.AcquireSemaphore:
		m.Answer = &weftv1.SynchronizeAnswer_AcquireSemaphore{
			AcquireSemaphore: &weftv1.AcquireSemaphoreResponse{Acquired: done, Grant: streamGrant(a)},
		}
	case *shard.ReleaseSemaphore:
		m.Answer = &weftv1.SynchronizeAnswer_ReleaseSemaphore{ReleaseSemaphore: &weftv1.ReleaseSemaphoreResponse{}}
	case *shard.WaitBarrier:
		m.Answer = &weftv1.SynchronizeAnswer_WaitBarrier{
			WaitBarrier: &weftv1.WaitBarrierResponse{Index: a.Index, Act: a.Act, Generation: a.Generation},
		}
	case *shard.CompleteBarrier:
		m.Answer = &weftv1.SynchronizeAnswer_CompleteBarrier{CompleteBarrier: &weftv1.CompleteBarrierResponse{}}
	case *shard.BreakBarrier:
		if op.Reset {
			m.Answer = &weftv1.SynchronizeAnswer_ResetBarrier{ResetBarrier: &weftv1.ResetBarrierResponse{}}
		} else {
			m.Answer = &weftv1.SynchronizeAnswer_AbortBarrier{AbortBarrier: &weftv1.AbortBarrierResponse{}}
		}
	default:
		objectAnswer(m, op, a)
	}
}

// objectAnswer is [answerTo] of events and values.
func objectAnswer(m *weftv1.SynchronizeAnswer, op shard.LockOp, a *lockservice.Answer) {
	switch op := op.(type) {
	case *shard.SetEvent:
		if op.Set {
			m.Answer = &weftv1.SynchronizeAnswer_SetEvent{SetEvent: &weftv1.SetEventResponse{Event: eventMessage(op.Name, a)}}
		} else {
			m.Answer = &weftv1.SynchronizeAnswer_ClearEvent{ClearEvent: &weftv1.ClearEventResponse{Event: eventMessage(op.Name, a)}}
		}
	case *shard.WaitEvent:
		m.Answer = &weftv1.SynchronizeAnswer_WaitEvent{
			WaitEvent: &weftv1.WaitEventResponse{Set: a.Outcome == lockservice.Done, Event: eventMessage(op.Name, a)},
		}
	case *shard.SetValue:
		m.Answer = &weftv1.SynchronizeAnswer_SetValue{
			SetValue: &weftv1.SetValueResponse{Value: valueMessage(op.Name, &a.Data, a.Version, false)},
		}
	case *shard.AddValue:
		m.Answer = &weftv1.SynchronizeAnswer_AddValue{
			AddValue: &weftv1.AddValueResponse{Value: valueMessage(op.Name, &a.Data, a.Version, false)},
		}
	case *shard.WaitValue:
		m.Answer = &weftv1.SynchronizeAnswer_WaitValue{WaitValue: waitValueMessage(op.Name, a)}
	}
}
