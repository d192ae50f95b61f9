package lockservice

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// originKey is a request that waits, by where its answer goes.
type originKey struct {
	session         session.ID
	channel, number uint64
	namespace, id   string
}

// Channel is one of a session's streams, over its reconnections.
type Channel struct {
	Session session.ID
	Number  uint64
}

// window is what a channel has been answered and has not acknowledged.
type window struct {
	channel   Channel
	namespace string
	below     uint64 // as recorded
	told      uint64 // as the client said last
	answers   []Kept // by number
	node      node
}

// Kept is an answer that is kept.
type Kept struct {
	Number uint64
	Answer Answer
	Object string // a condition that notified it, or a free semaphore: what goes on if the client never hears of it
}

// WindowState is a window's durable state.
type WindowState struct {
	Namespace string
	Channel   Channel
	Below     uint64
	Answers   []Kept
}

func (w *window) state() WindowState {
	return WindowState{Namespace: w.namespace, Channel: w.channel, Below: w.below, Answers: w.answers}
}

type requestKey struct{ namespace, id string }

// requestBytes is about what the memory of a request takes.
const requestBytes = 160

// request is the memory of a request with an id.
type request struct {
	key    requestKey
	hash   [16]byte
	answer Answer
	place  int32
	node   node
}

func keyOf(namespace string, o *Origin) (originKey, bool) {
	switch {
	case o.Number != 0:
		return originKey{session: o.Session, channel: o.Channel, number: o.Number}, true
	case o.RequestID != "":
		return originKey{namespace: namespace, id: o.RequestID}, true
	}
	return originKey{}, false
}

// recall finds what became of a request that comes again.
func (c *Core) recall(namespace string, o *Origin) (d Decision, known bool, err error) {
	key, ok := keyOf(namespace, o)
	if !ok {
		return d, false, nil
	}
	if w := c.origins[key]; w != nil {
		if w.Origin.Hash != o.Hash {
			return d, true, mismatch(o)
		}
		c.claims.Remove(w)
		return Decision{Waiter: w.ID}, true, nil
	}
	if o.Number != 0 {
		return c.recallCommand(o)
	}
	r := c.requests[requestKey{namespace, o.RequestID}]
	switch {
	case r == nil:
		return d, false, nil
	case r.hash != o.Hash:
		return d, true, mismatch(o)
	case r.answer.Token != 0 && (c.grants[r.answer.Token] == nil || c.dead(c.grants[r.answer.Token].Holder)):
		return d, true, pure.Refuse(pure.LeaseLost, "what the request was granted has been given up since", "token", r.answer.Token)
	}
	return Decision{Answer: r.answer}, true, nil
}

func mismatch(o *Origin) error {
	return pure.Refuse(pure.RequestMismatch, "a request with this id had another body", "request_id", o.RequestID)
}

func (c *Core) recallCommand(o *Origin) (d Decision, known bool, err error) {
	w := c.window(Channel{o.Session, o.Channel})
	if w == nil {
		return d, false, nil
	}
	if o.Number < max(w.below, w.told) {
		return d, true, pure.Refuse(pure.BadFrame, "the command's answer was acknowledged", "field", "number")
	}
	if at, found := slices.BinarySearchFunc(w.answers, o.Number, compareKept); found {
		return Decision{Answer: w.answers[at].Answer}, true, nil
	}
	return d, false, nil
}

func compareKept(k Kept, number uint64) int {
	switch {
	case k.Number < number:
		return -1
	case k.Number > number:
		return 1
	}
	return 0
}

func (c *Core) window(ch Channel) *window {
	if p := c.peers[ch.Session]; p != nil {
		return p.windows[ch.Number]
	}
	return nil
}

// Acknowledge says that a client has the answers to all commands below a number.
func (c *Core) Acknowledge(ch Channel, below uint64) {
	if w := c.window(ch); w != nil {
		w.told = max(w.told, below)
	}
}

// Told is the number below which a channel's answers are acknowledged.
func (c *Core) Told(ch Channel) uint64 {
	if w := c.window(ch); w != nil {
		return max(w.told, w.below)
	}
	return 0
}

// keep records the answer to a request, if it can come again, and returns it.
func (c *Core) keep(step *pure.Step, namespace string, o *Origin, a Answer) (Decision, error) {
	c.record(step, namespace, o, a, "")
	return Decision{Answer: a}, nil
}

func (c *Core) record(step *pure.Step, namespace string, o *Origin, a Answer, object string) {
	if _, ok := keyOf(namespace, o); ok {
		c.emit(step, &Answered{Namespace: namespace, Origin: *o, Answer: a, Object: object})
	}
}

// remember applies an answer.
func (c *Core) remember(rec *Answered, seq uint64) {
	if o := &rec.Origin; o.Number != 0 {
		w := c.lower(rec.Namespace, o, seq)
		if o.Number < w.below {
			return
		}
		k := Kept{Number: o.Number, Answer: rec.Answer, Object: rec.Object}
		at, found := slices.BinarySearchFunc(w.answers, o.Number, compareKept)
		if found {
			w.answers[at] = k
			return
		}
		w.answers = slices.Insert(w.answers, at, k)
		c.weigh(&w.node, windowWeight(w))
		return
	}
	key := requestKey{rec.Namespace, rec.Origin.RequestID}
	r := c.requests[key]
	if r == nil {
		r = &request{key: key}
		c.requests[key] = r
	}
	r.hash, r.answer = rec.Origin.Hash, rec.Answer
	c.touch(&r.node, r, rec.Namespace, int64(requestBytes+len(key.id)), seq)
	c.armRequest(c.now, r)
}

// lower returns the window of a command, without the answers that are acknowledged by it.
func (c *Core) lower(namespace string, o *Origin, seq uint64) *window {
	p := c.peer(o.Session)
	if p.windows == nil {
		p.windows = map[uint64]*window{}
	}
	w := p.windows[o.Channel]
	if w == nil {
		w = &window{channel: Channel{o.Session, o.Channel}, namespace: namespace}
		p.windows[o.Channel] = w
		c.touch(&w.node, w, namespace, windowWeight(w), seq)
	}
	if o.Below > w.below {
		w.below = o.Below
		n := 0
		for n < len(w.answers) && w.answers[n].Number < w.below {
			n++
		}
		w.answers = append(w.answers[:0], w.answers[n:]...)
		c.weigh(&w.node, windowWeight(w))
	}
	return w
}

// answerBytes is about what an answer takes that is kept.
const answerBytes = 160

func windowWeight(w *window) int64 { return 128 + answerBytes*int64(len(w.answers)) }

func (c *Core) applyWindow(s *WindowState, seq uint64) {
	w := c.lower(s.Namespace, &Origin{Session: s.Channel.Session, Channel: s.Channel.Number}, seq)
	w.below, w.answers = s.Below, slices.Clone(s.Answers)
	c.touch(&w.node, w, s.Namespace, windowWeight(w), seq)
}

// WindowsMax bounds the channels of a session whose answers are kept.
const WindowsMax = 1024

// Windows is how many channels of a session have answers that are kept, and whether a channel is one of them.
func (c *Core) Windows(ch Channel) (count int, known bool) {
	p := c.peers[ch.Session]
	if p == nil {
		return 0, false
	}
	return len(p.windows), p.windows[ch.Number] != nil
}

// endWindow forgets what a channel was answered whose stream is gone, if its client has all of it and waits for nothing.
func (c *Core) endWindow(step *pure.Step, ch Channel) {
	w := c.window(ch)
	if w == nil {
		return
	}
	if n := len(w.answers); n > 0 && w.answers[n-1].Number >= max(w.told, w.below) {
		return
	}
	for _, h := range c.peers[ch.Session].holders {
		if h.waits != nil && h.waits.Origin.Number != 0 && h.waits.Origin.Channel == ch.Number {
			return
		}
	}
	c.emit(step, &WindowDropped{ch})
}

func (c *Core) applyWindowDropped(w *window) {
	c.lose(&w.node)
	delete(c.peers[w.channel.Session].windows, w.channel.Number)
	c.tidyPeer(w.channel.Session)
}

// dropWindows forgets the windows of a session that has ended.
func (c *Core) dropWindows(id session.ID) {
	p := c.peers[id]
	if p == nil {
		return
	}
	for _, w := range p.windows {
		c.lose(&w.node)
	}
	p.windows = nil
	c.tidyPeer(id)
}

func (c *Core) armRequest(now pure.Lease, r *request) {
	if r != nil {
		c.forget.Set(r, pure.Key{A: int64(now.Add(MemoryTime)), B: r.node.age.Base()})
	}
}

// forgetDue forgets a request that is due, unless what it was granted lives.
func (c *Core) forgetDue(step *pure.Step, r *request) {
	if r.answer.Token != 0 && c.grants[r.answer.Token] != nil {
		c.armRequest(step.Lease, r)
		step.Look()
		return
	}
	c.emit(step, &RequestsDropped{Namespace: r.key.namespace, IDs: []string{r.key.id}})
}

func (c *Core) applyRequestsDropped(rec *RequestsDropped) {
	for _, id := range rec.IDs {
		key := requestKey{rec.Namespace, id}
		r := c.requests[key]
		if r == nil {
			c.Strangers++
			continue
		}
		delete(c.requests, key)
		c.forget.Remove(r)
		c.lose(&r.node)
	}
}
