package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/session"
)

// A look at a queue is short whatever the queue holds, and says what then comes.
func TestPeekOfManyLanesAndKeys(t *testing.T) {
	for name, c := range map[string]struct{ keys, kinds int }{
		"many of both": {50_000, 500}, "one key": {1, 500}, "few keys": {7, 500}, "as many as are shown": {PeekMax, 300},
	} {
		b := newBench(Config{})
		for i := range 50_000 {
			o := *DefaultOptions
			o.FairnessKey = fmt.Sprint(i % c.keys)
			if _, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: fmt.Sprint(i % c.kinds), Options: &o}}, 0); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		next, err := b.core.Peek("n", "", 2*PeekMax)
		if took := time.Since(began); err != nil || len(next) != PeekMax || took > 500*time.Millisecond {
			t.Errorf("%s: %d tasks in %v, %v", name, len(next), took, err)
		}
		if err := b.core.Reserve(b.step(), Reservation{Waiter: 1, Namespace: "n", TasksMax: PeekMax, Session: session.ID{9}}); err != nil {
			t.Fatal(err)
		}
		for i := range next {
			if s := b.core.tasks[next[i].ID].State; s != Running {
				t.Errorf("%s: task %d, said to be number %d, is %v", name, next[i].ID, i, s)
				break
			}
		}
	}
}
