package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/weftq/weft/pkg/session"
)

const (
	poisonFor = 10 * time.Minute
	poisonMax = 100
)

// poison remembers commands that made the machine panic, by what they ask for. It is empty but for a bug.
// Then most commands are told from those it knows by their outline, without a look at their contents.
type poison struct {
	until map[outline]map[fingerprint]time.Time // never an empty one in it
}

// outline is what can be seen of a command at no cost. Commands that ask for the same have the same one.
type outline struct {
	kind   reflect.Type
	sender uint64
	parts  int
}

// fingerprint stands for all that a command asks for.
type fingerprint [sha256.Size]byte

// repeatable is a command that carries something new each time it is sent. asked is the command without
// that: what a client that tries again asks for again. It is nil for one that asks for nothing: to refuse
// it would refuse every heartbeat of its stream.
type repeatable interface{ asked() Command }

func (c *ReserveTasks) asked() Command {
	again := *c
	again.Reservation.Waiter = 0
	return &again
}

func (c *SubmitTask) asked() Command {
	again := *c
	again.Waiter = 0
	return &again
}

func (c *JoinQueue) asked() Command {
	again := *c
	again.Waiter = 0
	return &again
}

func (c *OpenSession) asked() Command {
	again := *c
	again.State.ID = session.ID{}
	return &again
}

func (c *CallFrame) asked() Command {
	if len(c.Acknowledged)+len(c.Tasks)+len(c.Cancels) == 0 && !c.Finish {
		return nil
	}
	again := *c
	again.Refused, again.Heartbeat = nil, 0
	return &again
}

func (c *WorkerFrame) asked() Command {
	if len(c.Reports) == 0 && !c.Draining && !c.Goodbye {
		return nil
	}
	again := *c
	again.Credits, again.Heartbeat = 0, 0
	return &again
}

func (c *Synchronize) asked() Command {
	again := *c
	again.Ticket = 0
	return &again
}

func (c *SynchronizeFrame) asked() Command {
	if len(c.Commands)+len(c.Abandoned) == 0 && !c.Goodbye {
		return nil
	}
	again := *c
	again.Below, again.Heartbeat = 0, 0
	return &again
}

// outlineOf is cheap: every command passes it while anything is poisoned.
func outlineOf(cmd Command) outline {
	o := outline{kind: reflect.TypeOf(cmd)}
	switch c := cmd.(type) { // frames are many, and large
	case *CallFrame:
		o.sender, o.parts = c.Call, len(c.Tasks)
	case *WorkerFrame:
		o.sender, o.parts = binary.LittleEndian.Uint64(c.Session[:]), len(c.Reports)
	case *SynchronizeFrame:
		o.sender, o.parts = binary.LittleEndian.Uint64(c.Channel.Session[:]), len(c.Commands)
	}
	return o
}

// fingerprintOf returns false for a command that asks for nothing.
func fingerprintOf(cmd Command) (fingerprint, bool) {
	if r, ok := cmd.(repeatable); ok {
		if cmd = r.asked(); cmd == nil {
			return fingerprint{}, false
		}
	}
	body, err := json.Marshal(cmd) // streams are left out: a client that comes back asks the same
	if err != nil {
		body = fmt.Append(nil, err)
	}
	return sha256.Sum256(body), true
}

// add remembers a command, and tells whether it did.
func (p *poison) add(cmd Command) bool {
	sum, ok := fingerprintOf(cmd)
	if !ok {
		return false
	}
	if p.until == nil || p.size() >= poisonMax {
		p.until = map[outline]map[fingerprint]time.Time{}
	}
	o := outlineOf(cmd)
	if p.until[o] == nil {
		p.until[o] = map[fingerprint]time.Time{}
	}
	p.until[o][sum] = time.Now().Add(poisonFor)
	return true
}

func (p *poison) size() (n int) {
	for _, alike := range p.until {
		n += len(alike)
	}
	return n
}

func (p *poison) has(cmd Command) bool {
	if len(p.until) == 0 {
		return false
	}
	o := outlineOf(cmd)
	alike := p.until[o]
	if alike == nil {
		return false
	}
	now := time.Now()
	maps.DeleteFunc(alike, func(_ fingerprint, until time.Time) bool { return now.After(until) })
	if len(alike) == 0 {
		delete(p.until, o)
		return false
	}
	sum, ok := fingerprintOf(cmd)
	if !ok {
		return false
	}
	_, ok = alike[sum]
	return ok
}
