package sim

import (
	"errors"
	"time"
)

var errUnavailable = errors.New("unavailable")

// conn is one connection: messages of one direction keep their order, and what is lost is lost together
// with everything after it.
type conn struct {
	s        *sim
	name     string
	up, down pipe

	atBroker func(msg any)
	atClient func(msg any)

	brokerGone func()          // the broker learns that the connection is gone
	clientGone func(err error) // the client does

	brokerKnows, clientKnows bool // that it is gone
}

type pipe struct {
	last time.Duration // the arrival of the last message
	cut  bool
}

// dial opens a connection. The broker meets it with its first message.
func (s *sim) dial(name string, atClient func(any), gone func(error)) *conn {
	s.conns++
	c := &conn{s: s, name: name, atClient: atClient, clientGone: gone}
	s.open = append(s.open, c)
	return c
}

func (c *conn) arrival(p *pipe) time.Duration {
	p.last = max(p.last, c.s.now+c.s.upTo(c.s.cfg.latency))
	return p.last - c.s.now
}

// send sends a message to the broker.
func (c *conn) send(msg any) {
	if c.up.cut || c.clientKnows {
		return
	}
	c.s.after(c.arrival(&c.up), func() {
		switch {
		case c.up.cut || c.brokerKnows:
		case c.atBroker == nil && !c.s.broker.accept(c, msg):
			c.lose(0)
		case c.atBroker != nil:
			c.atBroker(msg)
		}
	})
}

// tell sends a message to the client.
func (c *conn) tell(msg any) {
	if c.down.cut || c.brokerKnows {
		return
	}
	c.s.after(c.arrival(&c.down), func() {
		if !c.down.cut && !c.clientKnows {
			c.atClient(msg)
		}
	})
}

// end closes the connection from the broker's side, behind what it has told.
func (c *conn) end(err error) {
	if c.brokerKnows {
		return
	}
	c.brokerKnows = true
	if c.down.cut {
		return
	}
	c.s.after(c.arrival(&c.down), func() {
		if !c.down.cut {
			c.loseClient(err)
		}
	})
}

// hangUp closes the connection from the client's side, behind what it has sent. If that way is cut the
// broker learns of it much later, or never.
func (c *conn) hangUp() {
	if c.clientKnows {
		return
	}
	c.clientKnows = true
	if c.up.cut {
		c.s.after(c.s.upTo(30*time.Second), c.loseBroker)
		return
	}
	c.s.after(c.arrival(&c.up), c.loseBroker)
}

// lose cuts the connection both ways. Each side learns of it in its own time, within the given one.
func (c *conn) lose(within time.Duration) {
	c.up.cut, c.down.cut = true, true
	c.s.after(c.s.upTo(within), c.loseBroker)
	c.s.after(c.s.upTo(within), func() { c.loseClient(errUnavailable) })
}

func (c *conn) loseBroker() {
	c.brokerKnows, c.up.cut = true, true
	if gone := c.brokerGone; gone != nil {
		c.brokerGone = nil
		gone()
	}
}

func (c *conn) loseClient(err error) {
	if !c.clientKnows {
		c.clientKnows = true
		c.clientGone(err)
	}
}

// live returns the connections that are open on either side.
func (s *sim) live() []*conn {
	kept := s.open[:0]
	for _, c := range s.open {
		if !c.brokerKnows || !c.clientKnows {
			kept = append(kept, c)
		}
	}
	clear(s.open[len(kept):])
	s.open = kept
	return kept
}
