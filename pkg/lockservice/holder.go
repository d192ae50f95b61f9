package lockservice

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// peer is what a session has here.
type peer struct {
	holders map[uint64]*holder
	windows map[uint64]*window
}

// holder is who holds and waits.
type holder struct {
	id     HolderID
	grants []*Grant
	waits  *Waiter    // for one thing at a time
	acts   []*barrier // whose actions it runs
	gone   bool       // its things are being given up
}

func (c *Core) peer(id session.ID) *peer {
	p := c.peers[id]
	if p == nil {
		p = &peer{}
		c.peers[id] = p
	}
	return p
}

// sortedWindows returns a session's windows by channel.
func sortedWindows(p *peer) []*window {
	out := make([]*window, 0, len(p.windows))
	for _, n := range slices.Sorted(maps.Keys(p.windows)) {
		out = append(out, p.windows[n])
	}
	return out
}

// tidyPeer forgets a session that has nothing here.
func (c *Core) tidyPeer(id session.ID) {
	if p := c.peers[id]; p != nil && len(p.holders) == 0 && len(p.windows) == 0 {
		delete(c.peers, id)
	}
}

func (c *Core) holder(id HolderID) *holder {
	h := c.holders[id]
	if h == nil {
		h = &holder{id: id}
		c.holders[id] = h
		p := c.peer(id.Session)
		if p.holders == nil {
			p.holders = map[uint64]*holder{}
		}
		p.holders[id.Number] = h
	}
	return h
}

// tidyHolder forgets a holder that holds nothing and waits for nothing.
func (c *Core) tidyHolder(h *holder) {
	if len(h.grants) > 0 || h.waits != nil || len(h.acts) > 0 {
		return
	}
	delete(c.holders, h.id)
	delete(c.peers[h.id.Session].holders, h.id.Number)
	c.tidyPeer(h.id.Session)
}

// busy refuses a holder that waits already.
func (c *Core) busy(id HolderID) error {
	h := c.holders[id]
	if h == nil || h.waits == nil {
		return nil
	}
	w := h.waits
	return pure.Refuse(pure.HolderWaits, fmt.Sprintf("%s waits for %s %s already, and waits for one thing at a time",
		c.nameOf(id, w.Label), w.Kind, w.Name), "holder", c.nameOf(id, w.Label), "waits_for", w.Kind.String()+" "+w.Name)
}

// dead tells whether a holder's session has ended, or the holder itself.
func (c *Core) dead(id HolderID) bool {
	h := c.holders[id]
	return h != nil && h.gone || !c.cfg.Alive(id.Session)
}

// nameOf is a holder's name for people.
func (c *Core) nameOf(id HolderID, label string) string {
	sessionName := c.cfg.SessionName(id.Session)
	if sessionName == "" {
		sessionName = hex.EncodeToString(id.Session[:4])
	}
	switch {
	case label != "":
		return sessionName + "/" + label
	case id.Number == 0:
		return sessionName
	}
	return fmt.Sprintf("%s/%d", sessionName, id.Number)
}

// SessionEnded gives up what a session that has just ended holds and waits for: some of it now, the rest by [Core.Work].
// Until then it counts as given up.
func (c *Core) SessionEnded(step *pure.Step, id session.ID) {
	c.dropWatchers(step, id)
	p := c.peers[id]
	if p == nil {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(p.holders)) {
		c.leave(p.holders[n])
	}
	c.passUnheard(step, p)
	c.dropWindows(id)
	c.Work(step)
}

// EndHolder gives up what one holder has.
func (c *Core) EndHolder(step *pure.Step, id HolderID) {
	if h := c.holders[id]; h != nil {
		c.leave(h)
		c.Work(step)
	}
}

// Holds tells whether a holder holds or waits for something, and is not gone.
func (c *Core) Holds(id HolderID) bool { return c.holders[id] != nil && !c.holders[id].gone }

// Knows tells whether a session's holders hold or wait for something.
func (c *Core) Knows(id session.ID) bool {
	p := c.peers[id]
	return p != nil && len(p.holders) > 0
}

// Holders calls fn for each holder of a session that holds or waits, in order.
func (c *Core) Holders(id session.ID, fn func(number uint64)) {
	if p := c.peers[id]; p != nil {
		for _, n := range slices.Sorted(maps.Keys(p.holders)) {
			fn(n)
		}
	}
}

func (c *Core) leave(h *holder) {
	if !h.gone {
		h.gone = true
		c.leaving = append(c.leaving, h.id)
	}
}

// Work goes on giving up what holders that are gone have, and giving others what is free, one step of it.
func (c *Core) Work(step *pure.Step) {
	for len(c.leaving) > 0 && !c.Full(step) {
		h := c.holders[c.leaving[0]]
		if h == nil {
			c.leaving = c.leaving[1:]
			continue
		}
		c.giveUp(step, h)
	}
	if len(c.leaving) == 0 {
		c.leaving = nil
	}
	c.runErrands(step)
}

// giveUp gives up one thing of a holder.
func (c *Core) giveUp(step *pure.Step, h *holder) {
	switch {
	case h.waits != nil:
		c.quit(step, h.waits, 0)
	case len(h.acts) > 0:
		c.breakBarrier(step, h.acts[0])
	default:
		c.drop(step, h.grants[len(h.grants)-1])
	}
}

// Serve ends the replay: every waiter has its whole time from now, and what sessions that are over still hold is given up.
func (c *Core) Serve(now pure.Lease) {
	for _, id := range slices.Sorted(maps.Keys(c.waiters)) {
		c.armWaiter(now, c.waiters[id])
		c.armClaim(now, c.waiters[id])
	}
	for _, r := range c.requests {
		c.armRequest(now, r)
	}
	ids := slices.SortedFunc(maps.Keys(c.peers), func(a, b session.ID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		if !c.cfg.Alive(id) {
			p := c.peers[id]
			for _, n := range slices.Sorted(maps.Keys(p.holders)) {
				c.leave(p.holders[n])
			}
		}
	}
	c.resumeErrands()
}
