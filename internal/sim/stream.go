package sim

import (
	"fmt"
	"strings"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// stream is the broker's end of a worker's, a call's or a watcher's stream.
type stream struct {
	b    *broker
	life int
	c    *conn
	out  *shard.Outbox

	worker  session.ID
	channel lockservice.Channel
	call    uint64
	watch   uint64
	view    *queue.CallView // of a call that is watched, as it was told so far
	ready   bool
	gone    bool
	early   []any           // frames from before the first one was answered
	told    map[uint64]bool // outcomes, by task

	brought     map[uint64]int   // partial results, by index
	progress    map[uint64]int64 // by token
	interrupted string           // the last one
}

// rpc is a unary request.
type rpc struct{ cmd shard.Command }

// answer is its answer.
type answer struct {
	value any
	err   error
}

// accept meets a new connection with its first message.
func (b *broker) accept(c *conn, msg any) bool {
	if !b.up {
		return false
	}
	if r, ok := msg.(rpc); ok {
		b.unary(c, r)
		return true
	}
	st := &stream{b: b, life: b.life, c: c, out: shard.NewOutbox(), told: map[uint64]bool{}, brought: map[uint64]int{}, progress: map[uint64]int64{}}
	b.streams = append(b.streams, st)
	c.atBroker, c.brokerGone = st.frame, st.closed
	switch msg := msg.(type) {
	case *shard.WorkerHello:
		hello := *msg
		hello.Stream, hello.NewSession = st.out, b.s.newSession()
		b.enqueue(&hello, st.first)
	case *shard.CallAttach:
		attach := *msg
		attach.Stream, attach.NewSession = st.out, b.s.newSession()
		b.enqueue(&attach, st.first)
	case *shard.SynchronizeHello:
		hello := *msg
		hello.Stream, hello.NewSession = st.out, b.s.newSession()
		st.channel.Number = hello.Channel
		b.enqueue(&hello, st.first)
	case *shard.WatchTask:
		watch := *msg
		watch.Stream, st.watch = st.out, watch.ID
		b.enqueue(&watch, st.first)
	case *shard.WatchCall:
		watch := *msg
		watch.Stream = st.out
		b.enqueue(&watch, st.first)
	}
	return true
}

// first takes the answer to a stream's first frame.
func (st *stream) first(value any, err error) {
	if err != nil {
		st.c.end(err)
		st.over()
		return
	}
	switch v := value.(type) {
	case session.ID:
		st.worker = v
	case *shard.Synchronized:
		st.channel.Session = v.Session
	case *shard.Attached:
		st.call = v.Call
		st.b.attached[v.Call] = st
	case queue.Snapshot:
		st.b.s.observe.snapshot(v)
		st.c.tell(v)
		st.endIf(v.State)
	case queue.CallView:
		st.view = &v
		st.endIfOver(v.Over)
	}
	st.ready = true
	for _, msg := range st.early {
		st.frame(msg)
	}
	st.early = nil
	if st.gone {
		st.leave()
	}
}

// endIf ends a watcher's stream behind the outcome.
func (st *stream) endIf(state queue.State) {
	if state.Final() {
		st.c.end(nil)
		st.closed()
		st.over()
	}
}

// endIfOver ends a watcher's stream with its call.
func (st *stream) endIfOver(over bool) {
	if over {
		st.b.s.observe.callOver(st.view)
		st.endIf(queue.Succeeded)
	}
}

// frame takes a message of the client's.
func (st *stream) frame(msg any) {
	if st.life != st.b.life {
		return
	}
	if !st.ready {
		st.early = append(st.early, msg)
		return
	}
	switch msg := msg.(type) {
	case *shard.WorkerFrame:
		f := *msg
		f.Session, f.Stream = st.worker, st.out
		st.b.enqueue(&f, nil)
	case *shard.CallFrame:
		f := *msg
		f.Call, f.Stream = st.call, st.out
		st.b.enqueue(&f, nil)
	case *shard.SynchronizeFrame:
		f := *msg
		f.Namespace, f.Channel, f.Stream = namespace, st.channel, st.out
		st.b.enqueue(&f, nil)
	}
}

// closed learns that the connection is gone.
func (st *stream) closed() {
	if st.life != st.b.life || st.gone {
		return
	}
	st.gone = true
	if st.ready {
		st.leave()
	}
}

func (st *stream) leave() {
	switch {
	case !st.channel.Session.IsZero():
		st.b.enqueue(&shard.SynchronizeGone{Channel: st.channel, Stream: st.out}, nil)
	case st.call != 0:
		st.b.enqueue(&shard.CallGone{Call: st.call, Stream: st.out}, nil)
	case st.view != nil:
		st.b.enqueue(&shard.UnwatchCall{ID: st.view.ID, Stream: st.out}, nil)
	case st.watch != 0:
		st.b.enqueue(&shard.UnwatchTask{ID: st.watch, Stream: st.out}, nil)
	default:
		st.b.enqueue(&shard.WorkerGone{Session: st.worker, Stream: st.out}, nil)
	}
	st.out.Close(nil)
}

func (st *stream) over() { st.out.Close(nil) }

// drain hands over what is told, and tells whether the stream is at its end.
func (st *stream) drain() (ended bool) {
	for {
		items, err := st.out.Take(nil)
		for _, item := range items {
			st.b.s.logf("tell %s %s", st.c.name, describe(item))
			st.b.s.observe.told(st, item)
			st.c.tell(item)
			if e, ok := item.(*queue.Changed); ok {
				st.endIf(e.Task.State)
			}
			if _, ok := item.(*queue.CallOver); ok {
				st.endIfOver(true)
			}
		}
		if err != nil {
			st.c.end(err)
			st.closed()
			return true
		}
		if len(items) == 0 {
			return false
		}
	}
}

// unary carries out a request with one answer.
func (b *broker) unary(c *conn, r rpc) {
	c.atBroker = func(any) {}
	cmd := r.cmd
	if reserve, ok := cmd.(*shard.ReserveTasks); ok {
		b.waiters++
		again := *reserve
		again.Reservation.Waiter, again.NewSession = b.waiters, b.s.newSession()
		cmd = &again
		life := b.life
		c.brokerGone = func() {
			if life == b.life {
				b.enqueue(&shard.ForgetReservation{Waiter: again.Reservation.Waiter}, nil)
			}
		}
	}
	cmd = b.await(c, cmd)
	lock, _ := cmd.(*shard.Synchronize)
	answered := false
	b.enqueue(cmd, func(value any, err error) {
		if answered {
			b.s.fail("%T is answered twice", cmd)
		}
		answered, c.brokerGone = true, nil
		b.s.logf("answer %s %T: %s %v", c.name, cmd, describe(value), err)
		b.s.observe.replied(cmd, value, err)
		if lock != nil && err == nil && c.brokerKnows && lock.Origin.RequestID == "" { // nobody hears of it
			b.enqueue(&shard.GiveBackLock{Namespace: namespace, Op: lock.Op, Answer: value.(shard.LockReply).Answer}, nil)
		}
		c.tell(answer{value, err})
		c.end(nil)
	})
}

// describe writes an effect for the trace.
func describe(item any) string {
	switch e := item.(type) {
	case *queue.Assigned:
		return fmt.Sprintf("assigned task %d token %d attempt %d", e.ID, e.Token, e.Attempt)
	case *queue.Advanced:
		return fmt.Sprintf("advanced index %d task %d token %d, %d from %d on, progress %v", e.Index, e.ID, e.Token, len(e.Partials), e.Offset, e.Progress != nil)
	case *queue.AdvanceAnswered:
		return fmt.Sprintf("advance %d of token %d answered %q", e.Sequence, e.Token, e.Reason)
	case *queue.Interrupted:
		return fmt.Sprintf("interrupted by task %d: %s", e.Task, e.Message)
	case *queue.Finished:
		return fmt.Sprintf("finished index %d task %d %s", e.Index, e.ID, outcomeText(e.Outcome))
	case *queue.Rejected:
		return fmt.Sprintf("rejected index %d %s", e.Index, e.Reason.Reason)
	case *queue.Changed:
		return fmt.Sprintf("changed task %d %v", e.Task.ID, e.Task.State)
	case *queue.CallChange:
		return fmt.Sprintf("changed task %d of call %d from %v to %v", e.Task.ID, e.Call, e.Before, e.Task.State)
	case queue.Submitted:
		return fmt.Sprintf("task %d joined %v", e.ID, e.Joined)
	case queue.Snapshot:
		return fmt.Sprintf("task %d %v token %d", e.ID, e.State, e.Token)
	case shard.Reservation:
		var text strings.Builder
		text.WriteString(fmt.Sprintf("session %x", e.Session[:4]))
		for _, a := range e.Tasks {
			text.WriteString(fmt.Sprintf(" task %d token %d", a.ID, a.Token))
		}
		return text.String()
	case *shard.LockAnswered:
		return fmt.Sprintf("answer %d: %+v %v since %d", e.Number, e.Reply.Answer, e.Err, e.Since)
	case shard.LockReply:
		return fmt.Sprintf("%+v session %x", e.Answer, e.Session[:4])
	case *queue.Answered:
		return fmt.Sprintf("answered token %d accepted %v", e.Token, e.Accepted)
	case *queue.Stop:
		return fmt.Sprintf("stop token %d reason %d grace %v", e.Token, e.Reason, e.Grace)
	case *shard.Welcome:
		return fmt.Sprintf("welcome session %x superseded %v", e.Session[:4], e.Superseded)
	case *shard.Attached:
		return fmt.Sprintf("attached call %d session %x accepted %v", e.Call, e.Session[:4], e.Accepted)
	case *queue.Accepted:
		return fmt.Sprintf("accepted %v", e.Ranges)
	case *queue.Updated:
		return fmt.Sprintf("updated index %d task %d %v token %d", e.Index, e.ID, e.State, e.Token)
	case *queue.Released:
		return fmt.Sprintf("released token %d", e.Token)
	case *shard.Beat:
		return fmt.Sprintf("beat %d", e.Number)
	case uint64:
		return fmt.Sprint(e)
	}
	return fmt.Sprintf("%T", item)
}

func advanceText(a *queue.Advance) string {
	return fmt.Sprintf(" [task %d token %d advance %d: %d from %d on, checkpoint %q]",
		a.ID, a.Token, a.Sequence, len(a.Partials), a.Offset, checkpointText(a.Checkpoint))
}

// brief writes what of a command matters for the trace.
func brief(cmd shard.Command) string {
	switch c := cmd.(type) {
	case *shard.WorkerHello:
		return fmt.Sprintf(" %s session %x attempts %v credits %d", c.Hello.Name, c.Hello.Session[:4], c.Hello.Attempts, c.Hello.Credits)
	case *shard.WorkerFrame:
		var text strings.Builder
		text.WriteString(fmt.Sprintf(" session %x credits %d beat %d", c.Session[:4], c.Credits, c.Heartbeat))
		for i := range c.Advances {
			text.WriteString(advanceText(&c.Advances[i]))
		}
		for _, r := range c.Reports {
			text.WriteString(fmt.Sprintf(" [task %d token %d end %d]", r.ID, r.Token, r.End))
		}
		if c.Draining || c.Goodbye {
			text.WriteString(fmt.Sprintf(" draining %v goodbye %v", c.Draining, c.Goodbye))
		}
		return text.String()
	case *shard.SynchronizeHello:
		return fmt.Sprintf(" %s session %x", c.Client, c.Session[:4])
	case *shard.SynchronizeFrame:
		return fmt.Sprintf(" session %x commands %d abandoned %v below %d beat %d", c.Channel.Session[:4], len(c.Commands), c.Abandoned, c.Below, c.Heartbeat)
	case *shard.Synchronize:
		return fmt.Sprintf(" %s %s", c.Origin.RequestID, opText(c.Op))
	case *shard.WorkerGone:
		return fmt.Sprintf(" session %x", c.Session[:4])
	case *shard.CallAttach:
		return fmt.Sprintf(" %s session %x acknowledged %v", c.Call, c.Session[:4], c.Acknowledged)
	case *shard.CallFrame:
		return fmt.Sprintf(" call %d tasks %d acknowledged %v cancels %v finish %v taken %d beat %d",
			c.Call, len(c.Tasks), c.Acknowledged, c.Cancels, c.Finish, c.InterruptTaken, c.Heartbeat)
	case *shard.AdvanceTask:
		return advanceText(&c.Advance)
	case *shard.InterruptSubmitter:
		return fmt.Sprintf(" task %d token %d: %s", c.ID, c.Token, c.Message)
	case *shard.CallGone:
		return fmt.Sprintf(" call %d", c.Call)
	case *shard.SubmitTask:
		return fmt.Sprintf(" request %s queue %q waiter %d", c.RequestID, c.Task.Queue, c.Waiter)
	case *shard.ReportTask:
		return fmt.Sprintf(" task %d token %d end %d", c.Report.ID, c.Report.Token, c.Report.End)
	case *shard.ReserveTasks:
		return fmt.Sprintf(" request %s waiter %d session %x wait %v", c.RequestID, c.Reservation.Waiter, c.Reservation.Session[:4], c.Wait)
	case *shard.CancelTask:
		return fmt.Sprintf(" task %d", c.ID)
	case *shard.CloseSession:
		return fmt.Sprintf(" session %x", c.ID[:4])
	}
	return ""
}
