package worker

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A worker that the broker will not have ends with one clear error, and logs nothing of an end in order.
func TestRefusedWorker(t *testing.T) {
	b := newFakeBroker(t)
	st, err := status.New(codes.NotFound, "there is no queue q").WithDetails(&errdetails.ErrorInfo{
		Domain: "weft", Reason: "QUEUE_NOT_FOUND", Metadata: map[string]string{"queue": "q"},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.refuseWith(st.Err())
	var log bytes.Buffer
	cfg := b.config()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w := newWorker(t, cfg)
	w.handle("a", upper)
	err = w.Run(t.Context())
	const want = "worker: the broker refuses this worker: QUEUE_NOT_FOUND: there is no queue q"
	if err == nil || err.Error() != want || status.Code(err) != codes.NotFound {
		t.Errorf("%v, want %s", err, want)
	}
	if log.Len() > 0 {
		t.Errorf("it logs %s", log.String())
	}
}

// The absence of a broker is told at once, and then every half minute.
func TestComplaint(t *testing.T) {
	var c complaint
	begun := time.Now()
	var told []int
	for second := range 100 {
		if c.due(begun.Add(time.Duration(second)*time.Second), second == 0 || second == 70) {
			told = append(told, second)
		}
	}
	if len(told) != 4 || told[0] != 0 || told[1] != 30 || told[2] != 60 || told[3] != 70 {
		t.Errorf("told after %v seconds", told)
	}
}

func TestPlain(t *testing.T) {
	for want, err := range map[string]error{
		"starting": status.Error(codes.Unavailable, "starting"),
		"dial tcp 127.0.0.1:1: connect: connection refused": status.Error(codes.Unavailable,
			`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`),
		errSilent.Error(): errSilent,
	} {
		if got := plain(err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
