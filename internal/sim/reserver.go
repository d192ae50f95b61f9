package sim

import (
	"fmt"
	"time"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// reserver takes tasks by unary requests, as somebody with grpcurl would.
type reserver struct {
	s     *sim
	name  string
	round int
	busy  int // tasks at hand, and requests
	open  session.ID
}

func newReserver(s *sim, i int) *reserver {
	v := &reserver{s: s, name: fmt.Sprintf("reserver-%d", i)}
	s.after(s.upTo(2*time.Second), v.next)
	return v
}

// next begins a round.
func (v *reserver) next() {
	if v.s.calm {
		return
	}
	v.s.after(v.s.upTo(2*v.s.cfg.ttl), v.next)
	if v.busy > 12 {
		return
	}
	if v.s.one(5) {
		v.session()
		return
	}
	v.round++
	cmd := &shard.ReserveTasks{
		Reservation: queue.Reservation{
			Namespace: namespace, Queue: queueNames[v.s.r.IntN(len(queueNames))], TasksMax: 1 + v.s.r.IntN(10),
		},
		Lease: v.s.cfg.ttl + v.s.upTo(5*time.Second), Wait: v.s.one(2),
	}
	if v.s.one(2) {
		cmd.Reservation.Kinds = kinds[:1+v.s.r.IntN(len(kinds))]
	}
	if v.s.one(2) {
		cmd.Reservation.Labels = offers[v.s.r.IntN(len(offers))]
	}
	switch {
	case v.s.one(4) && !v.open.IsZero():
		cmd.Reservation.Session = v.open
	case !v.s.one(3):
		cmd.RequestID = fmt.Sprintf("%s/%d", v.name, v.round)
		cmd.RequestHash[0] = byte(v.round)
	}
	v.reserve(cmd, 3)
	if v.s.one(5) {
		v.reserve(cmd, 1) // a double
	}
}

// session opens a session to reserve with, or closes it.
func (v *reserver) session() {
	if !v.open.IsZero() {
		v.s.call(v.name, &shard.CloseSession{Namespace: namespace, ID: v.open}, 5*time.Second, func(any, error) {})
		v.open = session.ID{}
		return
	}
	cmd := &shard.OpenSession{State: session.State{
		ID: v.s.newSession(), Namespace: namespace, Kind: session.Client, Name: v.name, TTL: v.s.cfg.ttl,
		RequestID: fmt.Sprintf("%s/%d", v.name, v.round+v.s.r.IntN(2)),
	}}
	v.s.call(v.name, cmd, 5*time.Second, func(value any, err error) {
		if err == nil {
			v.open = value.(session.State).ID
			v.renewSession(v.open)
		}
	})
}

func (v *reserver) renewSession(id session.ID) {
	v.s.after(v.s.cfg.ttl/2, func() {
		if v.open != id || v.s.calm || v.s.one(10) {
			return
		}
		v.s.call(v.name, &shard.RenewSession{Namespace: namespace, ID: id}, 5*time.Second, func(any, error) {})
		v.renewSession(id)
	})
}

// reserve asks, and asks again with the same words while it has no answer.
func (v *reserver) reserve(cmd *shard.ReserveTasks, tries int) {
	v.busy++
	v.s.call(v.name, cmd, 2*time.Second+v.s.upTo(10*time.Second), func(value any, err error) {
		v.busy--
		switch {
		case err == nil:
			for _, a := range value.(shard.Reservation).Tasks {
				v.run(a, cmd.Lease)
			}
		case reasonOf(err) == "" && tries > 1:
			v.reserve(cmd, tries-1)
		}
	})
}

// run does something with a task.
func (v *reserver) run(a queue.Assignment, lease time.Duration) {
	v.busy++
	b := v.s.behaviourOf(a.Payload)
	if v.s.one(8) { // walks away: the lease ends
		v.busy--
		return
	}
	if b.takes > lease/2 {
		v.renew(a, lease)
	}
	at := &attempt{Assignment: a}
	at.saved, at.brought = savedIn(a.Checkpoint)
	if b.interrupts {
		v.s.after(v.s.upTo(b.takes), func() { v.s.interrupt(v.name, a.ID, a.Token) })
	}
	v.s.after(b.takes, func() {
		v.busy--
		r := v.reportOf(b, a)
		v.bring(at, at.say(v.s, r.End == queue.EndSucceeded), 4, func() {
			if r.End == queue.EndSucceeded {
				v.s.advances.brought[a.Token] = at.brought
			}
			v.report(a, r, 4)
		})
	})
}

func (v *reserver) reportOf(b *behaviour, a queue.Assignment) queue.Report {
	r := reportOf(b, a)
	if v.s.one(5) {
		r = queue.Report{End: queue.EndReleased}
	}
	r.ID, r.Token = a.ID, a.Token
	return r
}

func (v *reserver) renew(a queue.Assignment, lease time.Duration) {
	v.s.after(lease/3, func() {
		v.s.call(v.name, &shard.RenewTask{Namespace: namespace, ID: a.ID, Token: a.Token}, lease/3, func(_ any, err error) {
			if reasonOf(err) == "" && !v.s.calm {
				v.renew(a, lease)
			}
		})
	})
}

func (v *reserver) report(a queue.Assignment, r queue.Report, tries int) {
	v.busy++
	v.s.call(v.name, &shard.ReportTask{Namespace: namespace, Report: r}, 3*time.Second, func(_ any, err error) {
		v.busy--
		switch {
		case err != nil && reasonOf(err) == "" && tries > 1:
			v.report(a, r, tries-1)
		case err == nil && v.s.one(5): // once more, the same and not the same
			v.report(a, r, 1)
			other := r
			other.End, other.Result = queue.EndError, queue.Payload{}
			v.report(a, other, 1)
		}
	})
}
