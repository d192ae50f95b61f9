package cli

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// locksClient is the lock service's generated client, whose methods are the requests.
type locksClient = weftv1.LockServiceClient

// ask makes one request, again while the broker is away: what changes something has a request id.
func ask[In, Out any](
	ctx context.Context, c *client.Client,
	method func(locksClient, context.Context, *In, ...grpc.CallOption) (*Out, error), request *In,
) (*Out, error) {
	for {
		out, err := method(weftv1.NewLockServiceClient(c.Conn()), ctx, request, grpc.WaitForReady(true))
		switch {
		case err == nil:
			return out, nil
		case !isAway(err):
			return nil, sdkError(ctx, err)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// sdkError is the error of a request as the SDK would have it.
func sdkError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	reason, metadata := reasonOf(err)
	return &client.Error{Code: st.Code(), Reason: reason, Message: st.Message(), Metadata: metadata}
}

// pages gives what a paged request lists.
func pages[T any](fetch func(token string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token, more := "", true; more; more = token != "" {
			page, next, err := fetch(token)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, one := range page {
				if !yield(one, nil) {
					return
				}
			}
			token = next
		}
	}
}

// isAway tells whether an error is of a broker that is away, starting perhaps.
func isAway(err error) bool {
	return errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable
}

// awayPause lies between tries while the broker is away.
const awayPause = 200 * time.Millisecond

// pause waits before the next try.
func pause(ctx context.Context) error {
	timer := time.NewTimer(awayPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func noWait() *durationpb.Duration { return durationpb.New(0) }

func allLocks(ctx context.Context, c *client.Client) iter.Seq2[*weftv1.Lock, error] {
	return pages(func(token string) ([]*weftv1.Lock, string, error) {
		m, err := ask(ctx, c, locksClient.ListLocks, &weftv1.ListLocksRequest{Namespace: c.Namespace(), PageToken: token})
		return m.GetLocks(), m.GetNextPageToken(), err
	})
}

func allSemaphores(ctx context.Context, c *client.Client) iter.Seq2[*weftv1.Semaphore, error] {
	return pages(func(token string) ([]*weftv1.Semaphore, string, error) {
		m, err := ask(ctx, c, locksClient.ListSemaphores, &weftv1.ListSemaphoresRequest{Namespace: c.Namespace(), PageToken: token})
		return m.GetSemaphores(), m.GetNextPageToken(), err
	})
}

func allEvents(ctx context.Context, c *client.Client) iter.Seq2[*weftv1.Event, error] {
	return pages(func(token string) ([]*weftv1.Event, string, error) {
		m, err := ask(ctx, c, locksClient.ListEvents, &weftv1.ListEventsRequest{Namespace: c.Namespace(), PageToken: token})
		return m.GetEvents(), m.GetNextPageToken(), err
	})
}

func allBarriers(ctx context.Context, c *client.Client) iter.Seq2[*weftv1.Barrier, error] {
	return pages(func(token string) ([]*weftv1.Barrier, string, error) {
		m, err := ask(ctx, c, locksClient.ListBarriers, &weftv1.ListBarriersRequest{Namespace: c.Namespace(), PageToken: token})
		return m.GetBarriers(), m.GetNextPageToken(), err
	})
}

func allValues(ctx context.Context, c *client.Client) iter.Seq2[*weftv1.Value, error] {
	return pages(func(token string) ([]*weftv1.Value, string, error) {
		m, err := ask(ctx, c, locksClient.ListValues, &weftv1.ListValuesRequest{Namespace: c.Namespace(), PageToken: token})
		return m.GetValues(), m.GetNextPageToken(), err
	})
}
