package client

import (
	"testing"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A client names the interrupt that it has taken. The same one, told again on a stream that was cut before the broker
// knew, is taken again and interrupts nobody twice; another one does.
func TestInterruptsAreTakenByName(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		hello := &weftv1.ExecuteAttached{SessionId: "s1"}
		if n > 1 {
			hello.Accepted = []*weftv1.IndexRange{{}} // the task
		}
		s.attach(hello)
		take := func(number uint64, message string) {
			s.send(&weftv1.ExecuteResponse{Interrupt: &weftv1.ExecuteInterrupt{TaskId: "t1", Number: number, Message: message}})
			for {
				if taken := s.recv().GetInterruptTaken(); taken == number {
					return
				} else if taken != 0 {
					t.Errorf("it has taken %d, not %d", taken, number)
				}
			}
		}
		if n == 1 {
			s.untilTasks(1)
			s.accept(0, 0)
			take(300, "first")
			return errCut
		}
		take(300, "first")
		take(7, "second")
		s.succeed(0)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	var heard []string
	forget := call.client.interrupts.listen(call, func(i *Interrupt) { heard = append(heard, i.Message) })
	defer forget()
	wantSuccess(t, submit(t, call, 1)...)
	call.Finish()
	if err := call.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 2 || heard[0] != "first" || heard[1] != "second" {
		t.Errorf("heard %q", heard)
	}
}
