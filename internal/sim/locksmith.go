package sim

import (
	"fmt"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
)

// locksmith takes locks by unary requests, as somebody with grpcurl would: without a session.
type locksmith struct {
	s     *sim
	name  string
	round int
	busy  int
	views map[uint64]*lockView     // what it believes to have
	until map[uint64]time.Duration // and for how long
}

func newLocksmith(s *sim, i int) *locksmith {
	v := &locksmith{s: s, name: fmt.Sprintf("locksmith-%d", i), views: map[uint64]*lockView{}, until: map[uint64]time.Duration{}}
	s.after(s.upTo(2*time.Second), v.next)
	return v
}

func (v *locksmith) next() {
	if v.s.calm {
		return
	}
	v.s.after(v.s.upTo(2*v.s.cfg.ttl), v.next)
	if v.busy > 4 {
		return
	}
	v.round++
	wait := lockservice.Wait{Timed: true, For: v.s.upTo(4 * time.Second)}
	op := &shard.AcquireLock{Name: lockNames[v.s.r.IntN(len(lockNames))], Mode: lockservice.Mode(1 + v.s.r.IntN(2)), Wait: wait}
	cmd := &shard.Synchronize{Namespace: namespace, Op: op, Opens: true, Lease: time.Second + v.s.upTo(2*v.s.cfg.ttl)}
	if !v.s.one(3) {
		cmd.Origin.RequestID, cmd.Origin.Hash = fmt.Sprintf("%s/%d", v.name, v.round), [16]byte{byte(v.round)}
	}
	v.acquire(cmd, op, first)
}

const first = 4

// acquire asks, and asks again with the same words while it has no answer.
func (v *locksmith) acquire(cmd *shard.Synchronize, op *shard.AcquireLock, tries int) {
	v.busy++
	sent := v.s.now
	v.s.call(v.name, cmd, time.Second+v.s.upTo(6*time.Second), func(value any, err error) {
		v.busy--
		switch {
		case err == nil:
			if r := value.(shard.LockReply); r.Answer.Token != 0 {
				v.got(op, r, sent+cmd.Lease*3/4)
			}
		case reasonOf(err) == pure.LeaseLost && tries == first:
			v.s.fail("%s: request %q waited, and its session is over", v.name, cmd.Origin.RequestID)
		case reasonOf(err) == "" && tries > 1 && cmd.Origin.RequestID != "":
			v.acquire(cmd, op, tries-1)
		}
	})
}

func (v *locksmith) got(op *shard.AcquireLock, r shard.LockReply, until time.Duration) {
	token := r.Answer.Token
	g := &lockView{name: op.Name, exclusive: op.Mode == lockservice.Exclusive, token: token}
	if v.s.now < until {
		v.s.apart(v.name, 0, g)
		v.views[token], v.until[token] = g, until
	}
	if v.s.one(4) { // walks away: the lease ends
		return
	}
	v.s.after(v.s.upTo(2*v.s.cfg.ttl), func() {
		delete(v.views, token)
		v.release(&shard.Synchronize{Namespace: namespace, Op: &shard.ReleaseLock{Name: op.Name, Token: token}}, 3)
	})
}

func (v *locksmith) release(cmd *shard.Synchronize, tries int) {
	v.busy++
	v.s.call(v.name, cmd, 3*time.Second, func(_ any, err error) {
		v.busy--
		if err != nil && reasonOf(err) == "" && tries > 1 {
			v.release(cmd, tries-1)
		}
	})
}
