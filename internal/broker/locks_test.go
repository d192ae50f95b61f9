package broker

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func (h *harness) locks() weftv1.LockServiceClient { return weftv1.NewLockServiceClient(h.conn) }

// holder is a holder in a session of its own.
func (h *harness) holder() *weftv1.Holder {
	h.t.Helper()
	s, err := h.sessions.OpenSession(h.ctx(), &weftv1.OpenSessionRequest{Ttl: durationpb.New(time.Minute)})
	if err != nil {
		h.t.Fatal(err)
	}
	return &weftv1.Holder{SessionId: s.GetSessionId()}
}

// until asks again and again, until something is so.
func (h *harness) until(what string, so func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(patience); !so(); {
		select {
		case <-tick.C:
		case <-over:
			h.t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// acquire acquires a lock and returns the token.
func (h *harness) acquire(name string, by *weftv1.Holder, mode weftv1.LockMode) uint64 {
	h.t.Helper()
	r, err := h.locks().AcquireLock(h.ctx(), &weftv1.AcquireLockRequest{Name: name, Holder: by, Mode: mode})
	if err != nil || !r.GetAcquired() {
		h.t.Fatal(r, err)
	}
	return r.GetGrant().GetToken()
}

// What is refused says why and changes nothing.
func TestLockServiceRefusals(t *testing.T) {
	h := newHarness(t)
	l, ctx := h.locks(), h.ctx()
	a, b := h.holder(), h.holder()
	const exclusive, shared = weftv1.LockMode_LOCK_MODE_EXCLUSIVE, weftv1.LockMode_LOCK_MODE_SHARED
	old := h.acquire("l", a, exclusive)
	if _, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "l", Holder: a, Token: old}); err != nil {
		t.Fatal(err)
	}
	token, other := h.acquire("l", a, exclusive), h.acquire("m", a, exclusive)
	read := h.acquire("r", a, shared)
	waits := make(chan error, 1)
	go func() {
		_, err := l.WaitCondition(ctx, &weftv1.WaitConditionRequest{Name: "c", Lock: "w", Holder: b, Token: h.acquire("w", b, exclusive)})
		waits <- err
	}()
	comes := make(chan error, 1)
	go func() {
		_, err := l.WaitBarrier(ctx, &weftv1.WaitBarrierRequest{Name: "b", Parties: 2, Holder: h.holder()})
		comes <- err
	}()
	h.until("both wait", func() bool {
		locks, err := l.ListLocks(ctx, &weftv1.ListLocksRequest{})
		barriers, err2 := l.ListBarriers(ctx, &weftv1.ListBarriersRequest{})
		return err == nil && err2 == nil && len(locks.GetLocks()) == 3 && len(barriers.GetBarriers()) == 1
	})
	bounded := &weftv1.SemaphoreSpec{Permits: 1, Free: true, Bounded: true}
	if _, err := l.AcquireSemaphore(ctx, &weftv1.AcquireSemaphoreRequest{Name: "s", Holder: a, Spec: &weftv1.SemaphoreSpec{Permits: 2}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetValue(ctx, &weftv1.SetValueRequest{Name: "v", Data: &weftv1.Data{Data: &weftv1.Data_Int64Value{Int64Value: 1<<63 - 1}}}); err != nil {
		t.Fatal(err)
	}
	gone := h.holder()
	if _, err := h.sessions.CloseSession(ctx, &weftv1.CloseSessionRequest{SessionId: gone.GetSessionId()}); err != nil {
		t.Fatal(err)
	}
	text := &weftv1.Data{Data: &weftv1.Data_StringValue{StringValue: "x"}}
	for what, test := range map[string]struct {
		do     func() error
		reason pure.Reason
		meta   []string
	}{
		"release by another": {func() error {
			_, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "l", Holder: b, Token: token})
			return err
		}, pure.NotHeld, []string{"lock", "l"}},
		"release of another": {func() error {
			_, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "m", Holder: a, Token: token})
			return err
		}, pure.NotHeld, []string{"lock", "m"}},
		"release, old token": {func() error {
			_, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "l", Holder: a, Token: old})
			return err
		}, pure.NotHeld, []string{"lock", "l"}},
		"release, no holder": {func() error {
			_, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "l", Token: token})
			return err
		}, pure.NotHeld, []string{"lock", "l"}},
		"check, old token": {func() error { _, err := l.CheckLock(ctx, &weftv1.CheckLockRequest{Name: "l", Token: old}); return err }, pure.TokenStale, []string{"lock", "l"}},
		"publish, old token": {func() error {
			_, err := l.PublishLock(ctx, &weftv1.PublishLockRequest{Name: "l", Holder: a, Token: old})
			return err
		}, pure.NotHeld, nil},
		"again, no re-entrant": {func() error {
			_, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "l", Holder: a})
			return err
		}, pure.Deadlock, []string{"lock", "l"}},
		"from shared": {func() error {
			_, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "r", Holder: a, Reentrant: true})
			return err
		}, pure.Deadlock, []string{"lock", "r"}},
		"a busy holder": {func() error {
			_, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "l", Holder: b})
			return err
		}, pure.HolderWaits, []string{"waits_for", "condition c"}},
		"an expired session": {func() error {
			_, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "l", Holder: gone})
			return err
		}, pure.SessionNotFound, nil},
		"no session at all": {func() error {
			_, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "l", Holder: &weftv1.Holder{}})
			return err
		}, pure.SessionNotFound, nil},
		"notify without": {func() error {
			_, err := l.NotifyCondition(ctx, &weftv1.NotifyConditionRequest{Name: "c", Lock: "w", Holder: a, Token: token})
			return err
		}, pure.NotHeld, []string{"lock", "w"}},
		"notify, shared": {func() error {
			_, err := l.NotifyCondition(ctx, &weftv1.NotifyConditionRequest{Name: "r", Holder: a, Token: read})
			return err
		}, pure.NotHeld, []string{"lock", "r"}},
		"another lock": {func() error {
			_, err := l.NotifyCondition(ctx, &weftv1.NotifyConditionRequest{Name: "c", Lock: "m", Holder: a, Token: other})
			return err
		}, pure.LockMismatch, []string{"lock", "w"}},
		"wait, another lock": {func() error {
			_, err := l.WaitCondition(ctx, &weftv1.WaitConditionRequest{Name: "c", Lock: "m", Holder: a, Token: other})
			return err
		}, pure.LockMismatch, []string{"lock", "w"}},
		"wait without": {func() error {
			_, err := l.WaitCondition(ctx, &weftv1.WaitConditionRequest{Name: "c", Lock: "w", Holder: a, Token: token})
			return err
		}, pure.NotHeld, []string{"lock", "w"}},
		"released too often": {func() error {
			_, err := l.ReleaseSemaphore(ctx, &weftv1.ReleaseSemaphoreRequest{Name: "t", Spec: bounded})
			return err
		}, pure.SemaphoreFull, []string{"semaphore", "t"}},
		"declared otherwise": {func() error {
			_, err := l.AcquireSemaphore(ctx, &weftv1.AcquireSemaphoreRequest{Name: "s", Holder: b, Spec: &weftv1.SemaphoreSpec{Permits: 3}})
			return err
		}, pure.SemaphoreMismatch, []string{"permits", "2"}},
		"more than there are": {func() error {
			_, err := l.AcquireSemaphore(ctx, &weftv1.AcquireSemaphoreRequest{Name: "s", Holder: b, Spec: &weftv1.SemaphoreSpec{Permits: 2}, Permits: 3})
			return err
		}, pure.InvalidField, []string{"field", "permits"}},
		"negative permits": {func() error {
			_, err := l.AcquireSemaphore(ctx, &weftv1.AcquireSemaphoreRequest{Name: "s", Holder: b, Spec: &weftv1.SemaphoreSpec{Permits: -1}})
			return err
		}, pure.InvalidField, []string{"field", "spec.permits"}},
		"permits of a grant": {func() error {
			_, err := l.ReleaseSemaphore(ctx, &weftv1.ReleaseSemaphoreRequest{Name: "s", Holder: a, Spec: &weftv1.SemaphoreSpec{Permits: 2}, Token: 1, Permits: 1})
			return err
		}, pure.InvalidField, []string{"field", "permits"}},
		"other parties": {func() error {
			_, err := l.WaitBarrier(ctx, &weftv1.WaitBarrierRequest{Name: "b", Parties: 3, Holder: a})
			return err
		}, pure.BarrierMismatch, []string{"parties", "2"}},
		"no action": {func() error {
			_, err := l.CompleteBarrier(ctx, &weftv1.CompleteBarrierRequest{Name: "b", Generation: 1, Holder: a})
			return err
		}, pure.NotHeld, []string{"barrier", "b"}},
		"another type": {func() error { _, err := l.SetValue(ctx, &weftv1.SetValueRequest{Name: "v", Data: text}); return err }, pure.ValueType, []string{"type", "int64"}},
		"added as another": {func() error {
			_, err := l.AddValue(ctx, &weftv1.AddValueRequest{Name: "v", Delta: &weftv1.AddValueRequest_DoubleDelta{DoubleDelta: 1}})
			return err
		}, pure.ValueType, []string{"type", "int64"}},
		"waited as another": {func() error {
			_, err := l.WaitValue(ctx, &weftv1.WaitValueRequest{Name: "v", Until: &weftv1.WaitValueRequest_Equals{Equals: text}})
			return err
		}, pure.ValueType, []string{"type", "int64"}},
		"beyond 64 bits": {func() error {
			_, err := l.AddValue(ctx, &weftv1.AddValueRequest{Name: "v", Delta: &weftv1.AddValueRequest_Int64Delta{Int64Delta: 1}})
			return err
		}, pure.ValueRange, []string{"value", "v"}},
		"another version": {func() error {
			_, err := l.SetValue(ctx, &weftv1.SetValueRequest{Name: "v", Data: &weftv1.Data{Data: &weftv1.Data_Int64Value{}}, IfVersion: new(uint64(1))})
			return err
		}, pure.ValueChanged, []string{"value", "v"}},
		"a stale guard": {func() error {
			_, err := l.DeleteValue(ctx, &weftv1.DeleteValueRequest{Name: "v", Guard: &weftv1.Guard{Lock: "l", Token: old}})
			return err
		}, pure.TokenStale, []string{"lock", "l"}},
		"a put with a stale guard": {func() error {
			_, err := h.tasks.SubmitTask(ctx, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k"}, Guard: &weftv1.Guard{Lock: "l", Token: old}})
			return err
		}, pure.TokenStale, []string{"lock", "l"}},
		"a put with a guard that waits": {func() error {
			_, err := h.tasks.SubmitTask(ctx, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k"}, Guard: &weftv1.Guard{Lock: "l", Token: token}, Wait: durationpb.New(1)})
			return err
		}, pure.InvalidField, []string{"field", "guard"}},
		"a value of no type": {func() error {
			_, err := l.SetValue(ctx, &weftv1.SetValueRequest{Name: "v", Data: &weftv1.Data{}})
			return err
		}, pure.InvalidField, []string{"field", "data"}},
		"a text as a bound": {func() error {
			_, err := l.WaitValue(ctx, &weftv1.WaitValueRequest{Name: "v", Until: &weftv1.WaitValueRequest_AtLeast{AtLeast: text}})
			return err
		}, pure.InvalidField, []string{"field", "at_least"}},
	} {
		t.Run(what, func(t *testing.T) {
			h.unchanged(func() { wantRefusal(t, test.do(), test.reason, test.meta...) })
		})
	}
	for _, holder := range []*weftv1.Holder{a, b} {
		if _, err := h.sessions.CloseSession(ctx, &weftv1.CloseSessionRequest{SessionId: holder.GetSessionId()}); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, <-waits, pure.LeaseLost)
	if _, err := l.ResetBarrier(ctx, &weftv1.ResetBarrierRequest{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, <-comes, pure.BarrierBroken, "barrier", "b")
}

// A request without a holder has a session of its own, which ends with what it was granted; its wait ends with the RPC.
func TestLockWithoutAHolder(t *testing.T) {
	h := newHarness(t)
	l, ctx := h.locks(), h.ctx()
	sessions := func() int {
		r, err := h.sessions.ListSessions(ctx, &weftv1.ListSessionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetSessions())
	}
	req := &weftv1.AcquireLockRequest{Name: "l", Lease: durationpb.New(time.Hour), RequestId: "r"}
	first, err := l.AcquireLock(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.AcquireLock(ctx, req)
	if err != nil || again.GetGrant().GetToken() != first.GetGrant().GetToken() || again.GetGrant().GetSessionId() != first.GetGrant().GetSessionId() {
		t.Fatalf("the same request again: %v %v, first %v", again, err, first)
	}
	wantMismatch := &weftv1.AcquireLockRequest{Name: "m", RequestId: "r"}
	_, err = l.AcquireLock(ctx, wantMismatch)
	wantRefusal(t, err, pure.RequestMismatch, "request_id", "r")
	if tried, err := l.AcquireLock(ctx, &weftv1.AcquireLockRequest{Name: "l", Wait: durationpb.New(0)}); err != nil || tried.GetAcquired() {
		t.Fatal(tried, err)
	}
	cut, cancel := context.WithCancel(ctx)
	waited := make(chan error, 1)
	go func() {
		_, err := l.AcquireLock(cut, &weftv1.AcquireLockRequest{Name: "l"})
		waited <- err
	}()
	h.until("it waits", func() bool {
		r, err := l.GetLock(ctx, &weftv1.GetLockRequest{Name: "l"})
		return err == nil && r.GetLock().GetWaitersCount() == 1
	})
	if n := sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
	cancel()
	if err := <-waited; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	h.until("it waits no more", func() bool { return sessions() == 1 })
	if _, err := l.ReleaseLock(ctx, &weftv1.ReleaseLockRequest{Name: "l", Token: first.GetGrant().GetToken()}); err != nil {
		t.Fatal(err)
	}
	if n := sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// A request that waits when the broker ends comes again, and has its place.
func TestLockWaitersSurviveARestart(t *testing.T) {
	h := newHarness(t)
	l := h.locks()
	a := h.holder()
	token := h.acquire("l", a, weftv1.LockMode_LOCK_MODE_EXCLUSIVE)
	req := &weftv1.AcquireLockRequest{Name: "l", RequestId: "second", Lease: durationpb.New(time.Hour)}
	cut := make(chan error, 1)
	go func() {
		_, err := l.AcquireLock(h.ctx(), req)
		cut <- err
	}()
	waiters := func() uint32 {
		r, err := l.GetLock(h.ctx(), &weftv1.GetLockRequest{Name: "l"})
		if err != nil {
			return 0
		}
		return r.GetLock().GetWaitersCount()
	}
	h.until("it waits", func() bool { return waiters() == 1 })
	h.restart()
	if err := <-cut; status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	h.until("the broker is back", func() bool { return waiters() == 1 })
	third := make(chan uint64, 1)
	go func() { third <- h.acquire("l", h.holder(), weftv1.LockMode_LOCK_MODE_EXCLUSIVE) }()
	h.until("a third one waits behind it", func() bool { return waiters() == 2 })
	if _, err := l.ReleaseLock(h.ctx(), &weftv1.ReleaseLockRequest{Name: "l", Holder: a, Token: token}); err != nil {
		t.Fatal(err)
	}
	second, err := l.AcquireLock(h.ctx(), req)
	if err != nil || second.GetGrant().GetToken() <= token {
		t.Fatal(second, err)
	}
	if _, err := l.ReleaseLock(h.ctx(), &weftv1.ReleaseLockRequest{Name: "l", Token: second.GetGrant().GetToken()}); err != nil {
		t.Fatal(err)
	}
	if last := <-third; last <= second.GetGrant().GetToken() {
		t.Errorf("tokens %d, %d, %d", token, second.GetGrant().GetToken(), last)
	}
}
