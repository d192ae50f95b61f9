package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A deadline that the broker finds passed a moment before its owner does is still the owner's.
func TestRetryWaitsForItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{ctx: t.Context()}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err := c.retry(ctx, func() error { return status.Error(codes.DeadlineExceeded, "it is over") })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err = c.retry(ctx, func() error { return status.Error(codes.DeadlineExceeded, "theirs") }); status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil {
			t.Error(err)
		}
	})
}
