package shard

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
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

func fingerprint(cmd Command) [32]byte {
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
	key := fingerprint(cmd)
	until, ok := p.until[key]
	if ok && time.Now().After(until) {
		delete(p.until, key)
		return false
	}
	return ok
}
