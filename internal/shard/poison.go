package shard

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/weftq/weft/pkg/session"
)

const (
	poisonFor = 10 * time.Minute
	poisonMax = 100
)

// poison remembers commands that made the machine panic, by what they ask for. It is empty but for a bug,
// and costs nothing then.
type poison struct {
	until map[[32]byte]time.Time
}

// repeatable is a command that carries something new each time it is sent. asked is the command without
// that: what a client that tries again asks for again.
type repeatable interface{ asked() Command }

func (c *ReserveTasks) asked() Command {
	again := *c
	again.Reservation.Waiter = 0
	return &again
}

func (c *OpenSession) asked() Command {
	again := *c
	again.State.ID = session.ID{}
	return &again
}

func (c *CallFrame) asked() Command {
	again := *c
	again.Refused, again.Heartbeat = nil, 0
	return &again
}

func (c *WorkerFrame) asked() Command {
	again := *c
	again.Heartbeat = 0
	return &again
}

func fingerprint(cmd Command) [32]byte {
	if r, ok := cmd.(repeatable); ok {
		cmd = r.asked()
	}
	body, err := json.Marshal(cmd) // streams are left out: a client that comes back asks the same
	if err != nil {
		body = fmt.Append(nil, err)
	}
	return sha256.Sum256(fmt.Appendf(body, "%T", cmd))
}

func (p *poison) add(cmd Command) {
	if cmd == nil {
		return
	}
	if p.until == nil || len(p.until) >= poisonMax {
		p.until = map[[32]byte]time.Time{}
	}
	p.until[fingerprint(cmd)] = time.Now().Add(poisonFor)
}

func (p *poison) has(cmd Command) bool {
	if len(p.until) == 0 {
		return false
	}
	now := time.Now()
	maps.DeleteFunc(p.until, func(_ [32]byte, until time.Time) bool { return now.After(until) })
	_, ok := p.until[fingerprint(cmd)]
	return ok
}
