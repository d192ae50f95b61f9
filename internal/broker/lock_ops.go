package broker

import (
	"math"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Requests of the lock service as the shard takes them, of the RPCs as of the stream.

func acquireLock(req *weftv1.AcquireLockRequest) shard.LockOp {
	op := &shard.AcquireLock{
		Name: req.GetName(), Mode: lockservice.Exclusive, Reentrant: req.GetReentrant(), Wait: waitOf(req.GetWait()),
		Published: req.GetPublished(),
	}
	if req.GetMode() == weftv1.LockMode_LOCK_MODE_SHARED {
		op.Mode = lockservice.Shared
	}
	return op
}

func releaseLock(req *weftv1.ReleaseLockRequest) shard.LockOp {
	return &shard.ReleaseLock{Name: req.GetName(), Token: req.GetToken(), All: req.GetAll()}
}

func publishLock(req *weftv1.PublishLockRequest) shard.LockOp {
	return &shard.PublishLock{Name: req.GetName(), Token: req.GetToken(), Published: req.GetPublished()}
}

// lockOr is a condition's lock: by default the one of its name.
func lockOr(lock, condition string) string {
	if lock == "" {
		return condition
	}
	return lock
}

func waitCondition(req *weftv1.WaitConditionRequest) shard.LockOp {
	return &shard.WaitCondition{
		Name: req.GetName(), Lock: lockOr(req.GetLock(), req.GetName()), Token: req.GetToken(), Wait: waitOf(req.GetWait()),
	}
}

func notifyCondition(req *weftv1.NotifyConditionRequest) shard.LockOp {
	op := &shard.NotifyCondition{
		Name: req.GetName(), Lock: lockOr(req.GetLock(), req.GetName()), Token: req.GetToken(), Count: max(int(req.GetCount()), 1),
	}
	if req.GetAll() {
		op.Count = math.MaxInt
	}
	return op
}

func semaphoreSpec(m *weftv1.SemaphoreSpec) lockservice.SemaphoreSpec {
	return lockservice.SemaphoreSpec{Permits: m.GetPermits(), Free: m.GetFree(), Bounded: m.GetFree() && m.GetBounded()}
}

func acquireSemaphore(req *weftv1.AcquireSemaphoreRequest) shard.LockOp {
	return &shard.AcquireSemaphore{
		Name: req.GetName(), Spec: semaphoreSpec(req.GetSpec()), Permits: max(req.GetPermits(), 1), Wait: waitOf(req.GetWait()),
	}
}

// releasable refuses what belongs to the other sort of semaphore.
func releasable(req *weftv1.ReleaseSemaphoreRequest) *pure.Refusal {
	switch free := req.GetSpec().GetFree(); {
	case !free && req.GetToken() == 0:
		return invalid("token", "is required, but for a free semaphore")
	case !free && req.GetPermits() != 0:
		return invalid("permits", "is for a free semaphore: a grant is given up whole")
	case free && req.GetToken() != 0:
		return invalid("token", "is not for a free semaphore")
	}
	return nil
}

func releaseSemaphore(req *weftv1.ReleaseSemaphoreRequest) shard.LockOp {
	return &shard.ReleaseSemaphore{
		Name: req.GetName(), Spec: semaphoreSpec(req.GetSpec()), Token: req.GetToken(), Permits: max(req.GetPermits(), 1),
	}
}

func waitEvent(req *weftv1.WaitEventRequest) shard.LockOp {
	return &shard.WaitEvent{Name: req.GetName(), Since: req.GetSince(), Wait: waitOf(req.GetWait())}
}

func waitBarrier(req *weftv1.WaitBarrierRequest) shard.LockOp {
	return &shard.WaitBarrier{
		Name: req.GetName(), Parties: uint32(req.GetParties()), Action: req.GetAction(), Wait: waitOf(req.GetWait()),
	}
}

func completeBarrier(req *weftv1.CompleteBarrierRequest) shard.LockOp {
	return &shard.CompleteBarrier{Name: req.GetName(), Generation: req.GetGeneration()}
}

func eventMessage(name string, a *lockservice.Answer) *weftv1.Event {
	return &weftv1.Event{Name: name, Set: a.Set, Generation: a.Generation}
}
