package task

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestErrorIsSendable(t *testing.T) {
	e := &Error{Reason: "bad\xff", Message: strings.Repeat("ä", 16<<10) + "\xc3", Stack: "\x80"}
	m := e.Proto()
	if _, err := proto.Marshal(m); err != nil {
		t.Error(err)
	}
	if len(m.GetMessage()) > 16<<10 || !strings.HasSuffix(m.GetMessage(), "(truncated)") {
		t.Errorf("%d bytes, ending in %q", len(m.GetMessage()), m.GetMessage()[len(m.GetMessage())-20:])
	}
}

func TestCauses(t *testing.T) {
	for _, err := range []error{ErrCancelled, ErrLeaseLost, ErrDrained} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not a cancellation", err)
		}
	}
	if !errors.Is(ErrTimeout, context.DeadlineExceeded) || errors.Is(ErrTimeout, context.Canceled) {
		t.Error("ErrTimeout is not a deadline")
	}
	if errors.Is(ErrDrained, ErrLeaseLost) {
		t.Error("two causes are one")
	}
}
