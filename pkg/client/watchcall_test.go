package client

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// callTeller tells watchers of a call what a script says, a stream each.
type callTeller struct {
	fakeBroker
	streams int
	tell    func(n int, s grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error
}

func (b *callTeller) WatchCall(r *weftv1.WatchCallRequest, s grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error {
	if r.GetCallId() != "nightly" {
		return weftError(weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND, nil)
	}
	b.streams++ // one after the other
	return b.tell(b.streams, s)
}

func (b *callTeller) begin(t *testing.T) *Client {
	t.Helper()
	b.fakeBroker.tasks = b
	return b.start(t)
}

// A watch goes on with what there is then: after a cut, and when it was too slow.
func TestWatchCallGoesOn(t *testing.T) {
	b := &callTeller{tell: func(n int, s grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error {
		counts := &weftv1.TaskCounts{Running: uint64(3 - n), Failed: uint64(n)}
		if err := s.Send(&weftv1.WatchCallResponse{Counts: counts, Over: n == 3}); err != nil {
			return err
		}
		switch n {
		case 1:
			return errCut
		case 2:
			return weftError(weftv1.ErrorReason_ERROR_REASON_SLOW_STREAM, nil)
		}
		return nil
	}}
	var unfinished, failed []uint64
	over := false
	for e, err := range b.begin(t).WatchCall(testContext(t), "nightly") {
		if err != nil {
			t.Fatal(err)
		}
		unfinished, failed, over = append(unfinished, e.Unfinished()), append(failed, e.Failed()), e.Over
	}
	if len(failed) != 3 || unfinished[0] != 2 || failed[2] != 3 || unfinished[2] != 0 || !over {
		t.Errorf("%v unfinished, %v failed, over %v", unfinished, failed, over)
	}
}

// It ends with the first error that will not pass, its context, its client, and whoever breaks the loop.
func TestWatchCallEnds(t *testing.T) {
	b := &callTeller{tell: func(_ int, s grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error {
		if err := s.Send(&weftv1.WatchCallResponse{Counts: &weftv1.TaskCounts{Ready: 1}}); err != nil {
			return err
		}
		<-s.Context().Done()
		return s.Context().Err()
	}}
	c := b.begin(t)
	for _, err := range c.WatchCall(testContext(t), "other") {
		if !HasReason(err, weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND) {
			t.Errorf("of a call that is not there: %v", err)
		}
	}
	for _, err := range c.WatchCall(testContext(t), "nightly") {
		if err != nil {
			t.Error(err)
		}
		break
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(testContext(t))
	defer cancel(nil)
	var last error
	for _, err := range c.WatchCall(ctx, "nightly") {
		cancel(why)
		last = err
	}
	if !errors.Is(last, why) {
		t.Errorf("after the end of its context: %v", last)
	}
	for _, err := range c.WatchCall(testContext(t), "nightly") {
		if last = err; err == nil {
			_ = c.Close()
		}
	}
	if !errors.Is(last, ErrClosed) {
		t.Errorf("of a client that is closed: %v", last)
	}
}
