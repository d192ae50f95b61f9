package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// What is wrapped around an error is told with it, and what is not there leaves no gap.
func TestErrorFrom(t *testing.T) {
	quota := &Error{Reason: "quota", Message: "none is left", Stack: "here"}
	for _, test := range []struct {
		err  error
		want Error
		text string
	}{
		{quota, *quota, "task: quota: none is left"},
		{
			fmt.Errorf("charge: %w", quota),
			Error{Reason: "quota", Message: "charge: none is left", Stack: "here"},
			"task: quota: charge: none is left",
		},
		{
			Permanent(fmt.Errorf("%w, so far", quota)),
			Error{Reason: "quota", Message: "none is left, so far", Stack: "here", Permanent: true},
			"task: quota: none is left, so far",
		},
		{Permanent(quota), Error{Reason: "quota", Message: "none is left", Stack: "here", Permanent: true}, "task: quota: none is left"},
		{fmt.Errorf("charge: %w", &Error{Reason: "quota"}), Error{Reason: "quota", Message: "charge: quota"}, "task: quota: charge: quota"},
		{&Error{Message: "no reason"}, Error{Reason: ReasonError, Message: "no reason"}, "task: error: no reason"},
		{&Error{}, Error{Reason: ReasonError}, "task: error"},
		{
			fmt.Errorf("emit: %w", CheckSize("the partial result", Bytes(make([]byte, PayloadBytesMax+1)))),
			Error{Reason: ReasonPayload, Message: "emit: task: the partial result has 524289 bytes, 524288 are possible", Permanent: true},
			"task: payload: emit: task: the partial result has 524289 bytes, 524288 are possible",
		},
	} {
		if got := ErrorFrom(test.err); *got != test.want || got.Error() != test.text {
			t.Errorf("%v: got %+v, %q", test.err, *got, got)
		}
	}
	for text, e := range map[string]*Error{"task: failed": {}, "task: boom": {Message: "boom"}, "task: error": {Reason: "error"}} {
		if e.Error() != text {
			t.Errorf("%q, want %q", e.Error(), text)
		}
	}
}

func TestStrictJSON(t *testing.T) {
	type point struct{ X int }
	c := StrictJSON[point]()
	good := []string{"", `{"X":1}`, "\n{\"X\":1} ", `{}`}
	for _, text := range append(good, `{"X":1,"Y":2}`, `{"X":1}{}`, `{"X":1}]`, `[]`, `{`) {
		got, err := c.Decode(Text(text))
		if (err == nil) != slices.Contains(good, text) || err != nil && got != (point{}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	p, err := c.Encode(point{7})
	if got, derr := c.Decode(p); err != nil || derr != nil || got.X != 7 || !p.IsText() {
		t.Errorf("%v, %v, %v", got, err, derr)
	}
}
