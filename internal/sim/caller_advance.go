package sim

import (
	"fmt"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// received is what a client has beside outcomes.
type received struct {
	partials map[uint64][]string // by index
	taken    map[string]bool     // interrupts that it said to have taken
	known    map[string]bool     // those of which it knows that the broker knows

	// Of the connection:
	interrupt string            // told and not taken yet
	told      string            // the last one
	number    uint64            // of that
	taking    map[uint64]string // by the heartbeat that confirms it
}

func newReceived() received {
	return received{partials: map[uint64][]string{}, taken: map[string]bool{}, known: map[string]bool{}}
}

func (r *received) reconnect() { r.interrupt, r.told, r.taking = "", "", map[uint64]string{} }

func payloadText(p queue.Payload) string { return fmt.Sprintf("%d:%s", p.Encoding, p.Data) }

// advanced takes partial results; what it has already it drops by its place.
func (c *caller) advanced(e *queue.Advanced) {
	have := c.got.partials[e.Index]
	if int(e.Offset) > len(have) {
		c.s.fail("%s: index %d is told partial results from %d on, and has %d", c.name, e.Index, e.Offset, len(have))
	}
	for i, p := range e.Partials {
		place := int(e.Offset) + i
		switch text := payloadText(p); {
		case place < len(have) && have[place] != text:
			c.s.fail("%s: index %d is told %s at %d, where %s was", c.name, e.Index, text, place, have[place])
		case place >= len(have) && c.final[e.Index] != "":
			c.s.fail("%s: index %d is told %s after its outcome", c.name, e.Index, text)
		case place >= len(have):
			have = append(have, text)
		}
	}
	c.got.partials[e.Index] = have
}

// interrupted takes note of an interrupt, to say so some time.
func (c *caller) interrupted(e *queue.Interrupted) {
	switch {
	case c.got.known[e.Message]:
		c.s.fail("%s: it is interrupted by %s, which it has taken", c.name, e.Message)
	case c.got.told == e.Message:
		c.s.fail("%s: it is interrupted twice by %s", c.name, e.Message)
	}
	c.got.interrupt, c.got.told, c.got.number = e.Message, e.Message, e.Number
}

// take says that an interrupt was taken.
func (c *caller) take(f *shard.CallFrame) {
	if c.got.interrupt != "" && (c.s.calm || c.s.one(4)) {
		f.InterruptTaken = c.got.number
		c.got.taken[c.got.interrupt] = true
		c.got.taking[c.beat+1] = c.got.interrupt
		c.got.interrupt = ""
	}
}

// took learns that the broker knows that.
func (c *caller) took(beat uint64) {
	if message, ok := c.got.taking[beat]; ok {
		c.got.known[message] = true
	}
}
