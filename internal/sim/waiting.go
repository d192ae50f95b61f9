package sim

import (
	"slices"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// await gives a request that may wait a name, and has it forgotten when its connection goes.
func (b *broker) await(c *conn, cmd shard.Command) shard.Command {
	var forget shard.Command
	switch asked := cmd.(type) {
	case *shard.SubmitTask:
		before := b.asked[asked.RequestID]
		b.asked[asked.RequestID] = true
		if asked.Waiter == 0 { // it does not want to wait
			return cmd
		}
		b.waiters++
		again := *asked
		again.Waiter = b.waiters
		b.putting = append(b.putting, putting{again.Waiter, again.Task.Queue, len(b.s.model.order), before})
		cmd, forget = &again, &shard.ForgetSubmit{Waiter: again.Waiter, Err: errUnavailable}
	case *shard.JoinQueue:
		b.waiters++
		again := *asked
		again.Waiter = b.waiters
		cmd, forget = &again, &shard.ForgetJoin{Waiter: again.Waiter}
	case *shard.Synchronize:
		b.waiters++
		again := *asked
		again.Ticket, again.NewSession = b.waiters, b.s.newSession()
		cmd, forget = &again, &shard.AbandonLock{Ticket: again.Ticket}
	default:
		return cmd
	}
	life, waiter := b.life, b.waiters
	c.brokerGone = func() {
		if life == b.life {
			b.hungUp[waiter] = true
			b.enqueue(forget, nil)
		}
	}
	return cmd
}

// putting is a submission that is not answered yet.
type putting struct {
	waiter uint64
	queue  string
	tasks  int  // that there were before it
	took   bool // the place or the task of another one with the same request, perhaps
}

// putOut holds the answer to a submission to its turn: whoever waited at the queue before it is answered.
func (o *observer) putOut(c *shard.SubmitTask, made queue.Submitted, err error) {
	b := o.s.broker
	at := slices.IndexFunc(b.putting, func(p putting) bool { return p.waiter == c.Waiter })
	if at < 0 {
		return
	}
	if asked := &b.putting[at]; err == nil && !asked.took && !made.Joined && !o.submitted[made.ID] && slices.Index(o.m.order, made.ID) >= asked.tasks {
		for _, p := range b.putting[:at] {
			if p.queue == c.Task.Queue && !p.took {
				o.fail("submission %d is accepted by queue %q before submission %d", c.Waiter, p.queue, p.waiter)
			}
		}
	}
	b.putting = slices.Delete(b.putting, at, at+1)
	o.submitted[made.ID] = true
}
