package client

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// retrier answers RetryTasks, but for the first time.
type retrier struct {
	weftv1.UnimplementedTaskServiceServer
	asked []string // the ids of the requests
}

func (r *retrier) RetryTasks(_ context.Context, q *weftv1.RetryTasksRequest) (*weftv1.RetryTasksResponse, error) {
	r.asked = append(r.asked, q.GetRequestId())
	if len(r.asked) == 1 {
		return nil, status.Error(codes.Unavailable, "away")
	}
	return &weftv1.RetryTasksResponse{Tasks: uint32(len(q.GetTaskIds()))}, nil
}

// A retry whose answer was lost is the same request when it is repeated, and the next retry is another one.
func TestARetryIsOneRequest(t *testing.T) {
	r := &retrier{}
	c := (&fakeBroker{tasks: r}).start(t)
	for range 2 {
		if err := c.Retry(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.asked) != 3 || r.asked[0] == "" || r.asked[0] != r.asked[1] || r.asked[2] == r.asked[1] {
		t.Errorf("asked by %q", r.asked)
	}
}
