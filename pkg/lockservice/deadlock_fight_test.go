package lockservice

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestDeadlocksAgainstBruteForce plays random holders, and holds every refusal, and the want of one, to an account that lets
// everybody who can go on do so until nobody can.
func TestDeadlocksAgainstBruteForce(t *testing.T) {
	steps, each := 20_000, 15
	if testing.Short() {
		each = 5
	}
	refusals := 0
	for seed := range each {
		a := newArena(t)
		p := &fighter{arena: a, rng: rand.New(rand.NewPCG(uint64(seed), 2))}
		p.holders, p.locks = uint64(2+p.rng.IntN(7)), 2+p.rng.IntN(4)
		for range steps {
			p.act()
			a.missed(false)
		}
		p.finish()
		if err := a.core.Check(); err != nil {
			t.Fatal(err)
		}
		refusals += p.refusals
	}
	if refusals < each*100 {
		t.Errorf("only %d deadlocks in %d acquires", refusals, each*steps)
	}
}

// fighter does random things, and nothing for a holder that waits.
type fighter struct {
	*arena
	rng      *rand.Rand
	holders  uint64
	locks    int
	refusals int
}

func (p *fighter) act() {
	h := p.rng.Uint64N(p.holders)
	for _, w := range p.book.waiters {
		if w.Holder == who(h) {
			if p.rng.IntN(10) == 0 {
				p.pass(time.Duration(p.rng.IntN(3)) * time.Second)
			}
			return
		}
	}
	wait := Wait{Timed: p.rng.IntN(3) == 0, For: time.Duration(p.rng.IntN(4)) * time.Second}
	n := string(rune('a' + p.rng.IntN(p.locks)))
	var err error
	switch p.rng.IntN(10) {
	case 0, 1, 2:
		mine := p.mine(h)
		if len(mine) > 0 {
			p.releaseGrant(mine[p.rng.IntN(len(mine))])
		}
	case 3:
		p.condition(h)
	case 4, 5:
		_, err = p.permits(h, "s", SemaphoreSpec{Permits: 3}, 1+p.rng.Int64N(3), wait)
	case 6:
		_, err = p.permits(h, "z", SemaphoreSpec{Permits: 1}, 1, wait)
	default:
		_, err = p.lock(h, n, Mode(1+p.rng.IntN(2)), wait)
	}
	if isDeadlock(err) {
		p.refusals++
	}
	p.refusals += len(p.refused)
}

// finish has everybody who can do so go on to the end: nobody may be left.
func (p *fighter) finish() {
	for round := 0; len(p.book.grants)+len(p.book.waiters) > 0; round++ {
		if round == 100 {
			p.t.Fatalf("left:\n%s", p.book.text())
		}
		p.pass(time.Hour)
		p.missed(false)
		for h := range p.holders {
			if x := p.core.holders[who(h)]; x != nil && x.waits == nil {
				for _, g := range p.mine(h) {
					p.releaseGrant(g)
				}
			}
		}
	}
}

// mine is what a holder has, in an order that does not change.
func (p *fighter) mine(h uint64) (out []GrantState) {
	for _, g := range p.book.grants {
		if g.Holder == who(h) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b GrantState) int { return cmp.Compare(a.Token, b.Token) })
	return out
}

func (p *fighter) condition(h uint64) {
	for _, g := range p.mine(h) {
		if g.Kind != KindLock || g.Mode != Exclusive {
			continue
		}
		if p.rng.IntN(2) == 0 {
			p.notify(h, g.Name, 1+p.rng.IntN(3))
			return
		}
		p.waitCondition(h, g.Name, timed(time.Duration(p.rng.IntN(5))*time.Second))
		return
	}
}
