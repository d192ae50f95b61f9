package broker

import (
	"context"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// graphEdgesMax bounds a wait-for graph.
const graphEdgesMax = 10_000

func lockMode(m lockservice.Mode) weftv1.LockMode { return weftv1.LockMode(m) }

func holderMessage(h *lockservice.HolderView) *weftv1.LockHolder {
	return &weftv1.LockHolder{
		Name: h.Name, Token: h.Token, Mode: lockMode(h.Mode), Depth: h.Depth, Permits: uint32(h.Permits), Since: timestamp(h.Since),
		Published: h.Published,
	}
}

func holderMessages(list []lockservice.HolderView) (out []*weftv1.LockHolder) {
	for i := range list {
		out = append(out, holderMessage(&list[i]))
	}
	return out
}

func waiterMessages(list []lockservice.WaiterView) (out []*weftv1.LockWaiter) {
	for i := range list {
		w := &list[i]
		out = append(out, &weftv1.LockWaiter{
			Name: w.Name, Mode: lockMode(w.Mode), Permits: uint32(w.Permits), Since: timestamp(w.Since), Condition: w.Condition,
		})
	}
	return out
}

func lockMessage(v *lockservice.LockView) *weftv1.Lock {
	return &weftv1.Lock{
		Name: v.Name, Holders: holderMessages(v.Holders), HoldersCount: uint32(v.HoldersCount),
		Waiters: waiterMessages(v.Waiters), WaitersCount: uint32(v.WaitersCount),
	}
}

// GetLock implements LockService.
func (s *lockService) GetLock(ctx context.Context, req *weftv1.GetLockRequest) (*weftv1.GetLockResponse, error) {
	v, err := do[lockservice.LockView](ctx, s.loop, &shard.GetLock{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetLockResponse{Lock: lockMessage(&v)}, nil
}

// listRequest is what all listings ask for.
type listRequest interface {
	GetNamespace() string
	GetPageSize() uint32
	GetPageToken() string
}

// list returns a page of objects as messages.
func list[T, M any](ctx context.Context, loop *shard.Loop, kind shard.ObjectKind, req listRequest, message func(*T) M) (out []M, next string, err error) {
	after, err := pageNumber(req.GetPageToken())
	if err != nil {
		return nil, "", err
	}
	page, err := do[shard.ObjectPage[T]](ctx, loop, &shard.ListObjects{
		Namespace: orDefault(req.GetNamespace()), Kind: kind, After: after, Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, "", err
	}
	for i := range page.Objects {
		out = append(out, message(&page.Objects[i]))
	}
	return out, pageToken(page.Next), nil
}

// ListLocks implements LockService.
func (s *lockService) ListLocks(ctx context.Context, req *weftv1.ListLocksRequest) (*weftv1.ListLocksResponse, error) {
	locks, next, err := list(ctx, s.loop, shard.Locks, req, lockMessage)
	if err != nil {
		return nil, err
	}
	return &weftv1.ListLocksResponse{Locks: locks, NextPageToken: next}, nil
}

// ListSemaphores implements LockService.
func (s *lockService) ListSemaphores(ctx context.Context, req *weftv1.ListSemaphoresRequest) (*weftv1.ListSemaphoresResponse, error) {
	semaphores, next, err := list(ctx, s.loop, shard.Semaphores, req, func(v *lockservice.SemaphoreView) *weftv1.Semaphore {
		return &weftv1.Semaphore{
			Name: v.Name, Spec: &weftv1.SemaphoreSpec{Permits: v.Spec.Permits, Free: v.Spec.Free, Bounded: v.Spec.Bounded},
			Available: v.Available, Holders: holderMessages(v.Holders), HoldersCount: uint32(v.HoldersCount),
			Waiters: waiterMessages(v.Waiters), WaitersCount: uint32(v.WaitersCount),
		}
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.ListSemaphoresResponse{Semaphores: semaphores, NextPageToken: next}, nil
}

// ListEvents implements LockService.
func (s *lockService) ListEvents(ctx context.Context, req *weftv1.ListEventsRequest) (*weftv1.ListEventsResponse, error) {
	events, next, err := list(ctx, s.loop, shard.Events, req, func(e *lockservice.EventState) *weftv1.Event {
		return &weftv1.Event{Name: e.Name, Set: e.Set, Generation: e.Generation}
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.ListEventsResponse{Events: events, NextPageToken: next}, nil
}

// ListBarriers implements LockService.
func (s *lockService) ListBarriers(ctx context.Context, req *weftv1.ListBarriersRequest) (*weftv1.ListBarriersResponse, error) {
	barriers, next, err := list(ctx, s.loop, shard.Barriers, req, func(v *lockservice.BarrierView) *weftv1.Barrier {
		return &weftv1.Barrier{
			Name: v.Name, Parties: int32(v.State.Parties), Waiters: waiterMessages(v.Waiters), WaitersCount: uint32(v.WaitersCount),
			Broken: v.State.Broken, Acting: v.State.Acting,
		}
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.ListBarriersResponse{Barriers: barriers, NextPageToken: next}, nil
}

// ListValues implements LockService.
func (s *lockService) ListValues(ctx context.Context, req *weftv1.ListValuesRequest) (*weftv1.ListValuesResponse, error) {
	values, next, err := list(ctx, s.loop, shard.Values, req, func(v *lockservice.ValueState) *weftv1.Value {
		return valueMessage(v.Name, &v.Data, v.Version, true)
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.ListValuesResponse{Values: values, NextPageToken: next}, nil
}

// GetWaitGraph implements LockService.
func (s *lockService) GetWaitGraph(ctx context.Context, req *weftv1.GetWaitGraphRequest) (*weftv1.GetWaitGraphResponse, error) {
	g, err := do[shard.WaitGraph](ctx, s.loop, &shard.GetWaitGraph{Namespace: orDefault(req.GetNamespace()), Max: graphEdgesMax})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.GetWaitGraphResponse{Truncated: g.Truncated}
	for _, e := range g.Edges {
		resp.Edges = append(resp.Edges, &weftv1.WaitEdge{Waiter: e.Waiter, Object: e.Object, Holder: e.Holder, Timed: e.Timed})
	}
	return resp, nil
}
