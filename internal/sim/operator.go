package sim

import (
	"fmt"
	"time"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// operator looks after the queues, for better or worse.
type operator struct {
	s    *sim
	name string
	busy int // joins that wait
	asks int // other requests under way
}

func newOperator(s *sim, i int) *operator {
	o := &operator{s: s, name: fmt.Sprintf("operator-%d", i)}
	s.after(s.upTo(2*time.Second), o.act)
	return o
}

func (o *operator) act() {
	if o.s.calm {
		o.mend()
		return
	}
	o.s.after(o.s.upTo(2*o.s.cfg.operate), o.act)
	name := queueNames[o.s.r.IntN(len(queueNames))]
	switch o.s.r.IntN(9) {
	case 0:
		o.update(name)
	case 1:
		o.flip(name, shard.QueuePaused, shard.QueueResumed)
	case 2:
		o.flip(name, []shard.QueueSwitch{shard.QueueClosed, shard.QueueClosedAtOnce}[o.s.r.IntN(2)], shard.QueueReopened)
	case 3:
		o.purge(name)
	case 4:
		o.remove(name)
	case 5:
		o.join(name)
	case 6:
		o.retry(name)
	default:
		o.look(name)
	}
}

func (o *operator) ask(cmd shard.Command) {
	o.asks++
	o.s.call(o.name, cmd, 5*time.Second, func(any, error) { o.asks-- })
}

func (o *operator) update(name string) {
	all := []shard.Setting{
		shard.SettingOrder, shard.SettingMaxSize, shard.SettingMaxRunning, shard.SettingMaxRunningPerKey,
		shard.SettingRate, shard.SettingDefaults,
	}
	which := all[o.s.r.IntN(len(all)):]
	o.ask(&shard.UpdateQueue{Namespace: namespace, Name: name, Settings: o.s.settings(), Which: which})
}

// flip does something to a queue and undoes it after a while.
func (o *operator) flip(name string, to, back shard.QueueSwitch) {
	o.ask(&shard.SwitchQueue{Namespace: namespace, Name: name, To: to})
	o.s.after(o.s.upTo(3*o.s.cfg.ttl), func() {
		o.s.keepCalling(o.name, &shard.SwitchQueue{Namespace: namespace, Name: name, To: back})
	})
}

func (o *operator) purge(name string) {
	cmd := &shard.PurgeQueue{Namespace: namespace, Name: name}
	for state := queue.Scheduled; state <= queue.Expired; state++ {
		if !state.Held() && o.s.one(3) {
			cmd.States = append(cmd.States, state)
		}
	}
	o.ask(cmd)
}

// remove deletes a queue, and has it made again.
func (o *operator) remove(name string) {
	o.ask(&shard.DeleteQueue{Namespace: namespace, Name: name, Force: !o.s.one(4)})
	if name != "" {
		o.s.after(o.s.upTo(2*time.Second), func() { o.s.makeQueue(name) })
	}
}

func (o *operator) join(name string) {
	o.busy++
	o.s.call(o.name, &shard.JoinQueue{Namespace: namespace, Name: name}, o.s.upTo(time.Minute), func(any, error) { o.busy-- })
}

// retry has something run again that has ended badly.
func (o *operator) retry(name string) {
	cmd := &shard.RetryTasks{Namespace: namespace, Queue: name}
	if o.s.one(3) {
		o.ask(cmd)
		return
	}
	ids := o.s.model.order
	for range min(len(ids), 20) {
		t := o.s.model.tasks[ids[o.s.r.IntN(len(ids))]]
		if !t.dropped && t.state.Final() && t.state != queue.Succeeded && t.joined == 0 && len(cmd.IDs) < 3 {
			cmd.IDs = append(cmd.IDs, t.id)
		}
	}
	if len(cmd.IDs) == 0 {
		return
	}
	cmd.RequestID = o.s.id()
	o.ask(cmd)
	if o.s.one(2) { // a double
		o.s.after(o.s.upTo(5*time.Second), func() {
			if !o.s.calm { // else nobody would run what it has made ready
				o.ask(cmd)
			}
		})
	}
}

func (o *operator) look(name string) {
	o.ask(&shard.PeekQueue{Namespace: namespace, Name: name, Max: 1 + o.s.r.IntN(10)})
	if ids := o.s.model.order; len(ids) > 0 {
		o.ask(&shard.ExplainTask{Namespace: namespace, ID: ids[o.s.r.IntN(len(ids))]})
	}
}

// mend undoes what might keep a calm system from coming to its end.
func (o *operator) mend() {
	if o.s.leaving {
		return
	}
	o.s.after(5*time.Second, o.mend)
	for _, name := range queueNames {
		if name != "" {
			o.s.makeQueue(name)
		}
		for _, to := range []shard.QueueSwitch{shard.QueueResumed, shard.QueueReopened} {
			o.ask(&shard.SwitchQueue{Namespace: namespace, Name: name, To: to})
		}
	}
	for _, id := range o.s.model.order {
		// Nobody else looks after a task that was tried again.
		if t := o.s.model.tasks[id]; t.revived && !t.state.Final() && o.s.hangs(t) {
			o.s.cancels[id] = true
			o.ask(&shard.CancelTask{Namespace: namespace, ID: id, Grace: -1})
		}
	}
}
