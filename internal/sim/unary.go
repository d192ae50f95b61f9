package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// call makes a unary request. Without an answer in time it is given up, as UNAVAILABLE.
func (s *sim) call(name string, cmd shard.Command, wait time.Duration, done func(value any, err error)) {
	over := false
	c := s.dial(name, func(msg any) {
		if a, ok := msg.(answer); ok && !over {
			over = true
			done(a.value, a.err)
		}
	}, func(err error) {
		if !over {
			over = true
			if err == nil {
				err = errUnavailable
			}
			done(nil, err)
		}
	})
	c.send(rpc{cmd})
	s.after(wait, func() {
		if !over {
			over = true
			c.hangUp()
			done(nil, errUnavailable)
		}
	})
}

// keepCalling repeats a request until it is answered.
func (s *sim) keepCalling(name string, cmd shard.Command) {
	s.call(name, cmd, 5*time.Second, func(_ any, err error) {
		if errors.Is(err, errUnavailable) || reasonOf(err) == "DISK_LOW" {
			s.after(s.upTo(time.Second), func() { s.keepCalling(name, cmd) })
		}
	})
}

func (s *sim) makeQueue(name string) {
	s.keepCalling("setup", &shard.CreateQueue{Namespace: namespace, Name: name, Settings: s.settings()})
}

// submitter submits tasks one by one, and looks after them.
type submitter struct {
	s     *sim
	name  string
	todo  int
	made  int
	under int             // requests under way
	mine  map[uint64]bool // tasks, and whether they are over
	order []uint64
	numbs map[uint64]int // behaviours by task
}

func newSubmitter(s *sim, i int) *submitter {
	u := &submitter{
		s: s, name: "submitter-" + string(rune('0'+i)), todo: 1 + s.r.IntN(s.cfg.tasks),
		mine: map[uint64]bool{}, numbs: map[uint64]int{},
	}
	s.after(s.upTo(2*time.Second), u.act)
	return u
}

func (u *submitter) done() bool {
	for _, id := range u.order {
		if !u.mine[id] {
			return false
		}
	}
	return u.made == u.todo && u.under == 0
}

func (u *submitter) act() {
	if u.done() {
		return
	}
	u.s.after(time.Millisecond+u.s.upTo(u.s.cfg.ttl/2), u.act)
	switch {
	case u.made < u.todo && u.s.one(2):
		u.submit()
	case len(u.order) > 0:
		u.look(u.any())
	}
}

// any draws a task, in the end one that is not known to be over.
func (u *submitter) any() uint64 {
	var open []uint64
	for _, id := range u.order {
		if u.s.calm && !u.mine[id] {
			open = append(open, id)
		}
	}
	if len(open) > 0 {
		return open[u.s.r.IntN(len(open))]
	}
	return u.order[u.s.r.IntN(len(u.order))]
}

// submit submits the next task; the answer may be lost, and then it is asked for again.
func (u *submitter) submit() {
	u.made++
	u.under++
	n := u.s.newTask(0)
	request := u.name + "/" + string(rune('a'+u.made%26)) + u.s.id()
	var ask func()
	ask = func() {
		cmd := &shard.SubmitTask{Namespace: namespace, RequestID: request, Task: n, Waiter: uint64(u.s.r.IntN(3))}
		u.s.call(u.name, cmd, 5*time.Second, func(value any, err error) {
			if err != nil {
				if reasonOf(err) == pure.TaskNotFound {
					n = alone(n)
				}
				u.s.after(u.s.upTo(2*time.Second), ask)
				return
			}
			made := value.(queue.Submitted)
			id := made.ID
			if u.s.one(10) && !u.s.calm && !made.Joined { // once more: the same task
				u.again(cmd, id)
			}
			u.under--
			u.adopt(id, &n)
		})
	}
	ask()
}

// adopt looks after a task from now on.
func (u *submitter) adopt(id uint64, n *queue.NewTask) {
	if _, known := u.mine[id]; !known {
		u.mine[id] = false
		u.order = append(u.order, id)
	}
	u.numbs[id] = int(payloadNumber(n.Spec.Payload.Data))
}

func otherKind(kind string) string {
	return kinds[(slices.Index(kinds, kind)+1)%len(kinds)]
}

func (u *submitter) again(cmd *shard.SubmitTask, id uint64) {
	known := func() bool { t := u.s.model.tasks[id]; return !t.dropped }
	u.s.call(u.name, cmd, 5*time.Second, func(value any, err error) {
		switch {
		case err == nil && value.(queue.Submitted).ID != id && known():
			u.s.fail("request %s made task %d and task %v", cmd.RequestID, id, value)
		case err == nil:
			u.adopt(value.(queue.Submitted).ID, &cmd.Task)
		}
	})
	other := *cmd
	other.Task.Spec.Kind = otherKind(cmd.Task.Spec.Kind)
	u.s.call(u.name, &other, 5*time.Second, func(value any, err error) {
		switch {
		case err == nil && known():
			u.s.fail("request %s with another body made task %v", cmd.RequestID, value)
		case err == nil:
			u.adopt(value.(queue.Submitted).ID, &other.Task)
		}
	})
}

func (u *submitter) look(id uint64) {
	b := &u.s.behaviours[u.numbs[id]]
	switch {
	case u.s.calm && b.hangs && !u.mine[id] && u.s.one(2), u.s.perMille(u.s.cfg.cancels):
		u.s.cancels[id] = true
		u.s.call(u.name, &shard.CancelTask{Namespace: namespace, ID: id, Grace: -1}, 5*time.Second, func(any, error) {})
	case u.s.one(4):
		u.watch(id)
	case u.s.one(4): //nolint:gocritic // the dice are thrown anew
		u.read()
	case u.s.perMille(u.s.cfg.cancels / 10):
		c := u.s.callers[u.s.r.IntN(len(u.s.callers))]
		c.foreign = true
		u.s.call(u.name, &shard.CancelCall{Namespace: namespace, Call: c.name, Grace: -1}, 5*time.Second, func(any, error) {})
	default:
		u.s.call(u.name, &shard.GetTask{Namespace: namespace, ID: id}, 5*time.Second, func(value any, err error) {
			switch {
			case err == nil:
				u.mine[id] = u.mine[id] || value.(queue.Snapshot).State.Final()
			case reasonOf(err) == "TASK_NOT_FOUND":
				u.gone(id)
			}
		})
	}
}

// read asks for something that changes nothing.
func (u *submitter) read() {
	cmds := []shard.Command{
		&shard.ListTasks{Filter: queue.Filter{Namespace: namespace}, Max: 5},
		&shard.ListTasks{Filter: queue.Filter{Namespace: namespace, Call: "call-0", States: []queue.State{queue.Ready, queue.Running}}, Max: 5},
		&shard.ListSessions{Namespace: namespace, Max: 2},
		&shard.ListWorkers{Namespace: namespace},
		&shard.ListQueues{Namespace: namespace, Max: 2},
		&shard.GetQueue{Namespace: namespace, Name: "orders"},
	}
	u.s.call(u.name, cmds[u.s.r.IntN(len(cmds))], 5*time.Second, func(any, error) {})
}

// gone holds a task that is not known any more to the journal.
func (u *submitter) gone(id uint64) {
	u.mine[id] = true
	if t := u.s.model.tasks[id]; t == nil || !t.dropped {
		u.s.fail("task %d is not found, and the journal has it", id)
	}
}

// watch follows a task for a while.
func (u *submitter) watch(id uint64) {
	u.under++
	left := false
	leave := func() {
		if !left {
			left = true
			u.under--
		}
	}
	c := u.s.dial(u.name, func(msg any) {
		t, ok := msg.(queue.Snapshot)
		if e, changed := msg.(*queue.Changed); changed {
			t, ok = e.Task, true
		}
		if ok && t.ID != id {
			u.s.fail("a watcher of task %d is told about %d", id, t.ID)
		}
		if ok && t.State.Final() {
			u.mine[id] = true
		}
	}, func(err error) {
		if reasonOf(err) == "TASK_NOT_FOUND" {
			u.gone(id)
		}
		leave()
	})
	c.send(&shard.WatchTask{Namespace: namespace, ID: id})
	u.s.after(u.s.upTo(10*time.Second), func() {
		c.hangUp()
		leave()
	})
}

// id returns a name that nobody else has.
func (s *sim) id() string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b [8]byte
	for i := range b {
		b[i] = letters[s.r.IntN(len(letters))]
	}
	return string(b[:])
}
