package broker

import (
	"context"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/shard"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// WatchLock implements LockService.
func (s *lockService) WatchLock(req *weftv1.WatchLockRequest, stream grpc.ServerStreamingServer[weftv1.WatchLockResponse]) error {
	cmd := &shard.WatchObject{Lock: true, Namespace: orDefault(req.GetNamespace()), Name: req.GetName()}
	return s.follow(stream.Context(), cmd, func(news any) error {
		resp := &weftv1.WatchLockResponse{}
		if now := news.(*shard.LockNow); now.Held {
			resp.Holder = holderMessage(&now.Holder)
		}
		return stream.Send(resp)
	})
}

// WatchValue implements LockService.
func (s *lockService) WatchValue(req *weftv1.WatchValueRequest, stream grpc.ServerStreamingServer[weftv1.WatchValueResponse]) error {
	cmd := &shard.WatchObject{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()}
	return s.follow(stream.Context(), cmd, func(news any) error {
		st := &news.(*shard.ValueNow).State
		return stream.Send(&weftv1.WatchValueResponse{Value: valueMessage(st.Name, &st.Data, st.Version, true)})
	})
}

// follow sends what an object is, now and at each change. While it sends, news gather in the outbox, and the last of them
// is all that counts.
func (s *lockService) follow(ctx context.Context, cmd *shard.WatchObject, send func(any) error) error {
	cmd.Stream = shard.NewOutbox()
	if _, err := s.loop.Settle(ctx, cmd); err != nil {
		return statusError(err)
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		_ = s.loop.Send(gone, (*shard.UnwatchObject)(cmd), 0, nil)
	}()
	var items []any
	for {
		select {
		case <-cmd.Stream.Wake():
		case <-s.loop.Over():
			return statusError(shard.NotReady())
		case <-ctx.Done():
			return statusError(context.Cause(ctx))
		}
		var err error
		if items, err = cmd.Stream.Take(items); len(items) > 0 {
			err = send(items[len(items)-1])
			clear(items)
		}
		if err != nil {
			return statusError(err)
		}
	}
}
