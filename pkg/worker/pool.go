package worker

import "sync"

// pool runs attempts on goroutines that stay: one for each slot that was ever needed at once.
//
// Waking a goroutine costs more than a short handler, so they are woken one after another, each by the
// one before it that found more to do: a handful of goroutines works off a flood of short handlers,
// while handlers that wait soon have as many as there are slots.
type pool struct {
	run func(*attempt)

	mu     sync.Mutex
	wakeup sync.Cond
	queue  []*attempt // to be taken from head on
	head   int
	idle   int
	waking bool // somebody was woken and is not there yet
	closed bool
	loops  sync.WaitGroup
}

func newPool(run func(*attempt)) *pool {
	p := &pool{run: run}
	p.wakeup.L = &p.mu
	return p
}

// submit runs attempts. The caller sees to it that there are no more than slots at a time.
func (p *pool) submit(attempts []*attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head > 0 { // use the room in front again, or a queue that is never empty grows for ever
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, attempts...)
	p.wake()
}

// close lets the goroutines end, each when nothing is queued any more.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.wakeup.Broadcast()
}

// wait waits, after close, until they have ended.
func (p *pool) wait() { p.loops.Wait() }

// wake gets one goroutine more to look at the queue; the caller holds p.mu.
func (p *pool) wake() {
	switch {
	case p.waking || p.head == len(p.queue):
	case p.idle > 0:
		p.waking = true
		p.wakeup.Signal()
	default:
		p.waking = true
		p.loops.Go(p.loop)
	}
}

func (p *pool) loop() {
	normal := false
	defer func() {
		if !normal { // a handler ended its goroutine (runtime.Goexit): what is queued goes on
			p.mu.Lock()
			defer p.mu.Unlock()
			p.wake()
		}
	}()
	p.mu.Lock()
	p.waking = false
	for {
		for p.head == len(p.queue) {
			if p.closed {
				p.mu.Unlock()
				normal = true
				return
			}
			p.idle++
			p.wakeup.Wait()
			p.idle--
			p.waking = false
		}
		a := p.take()
		p.wake()
		p.mu.Unlock()
		p.run(a)
		p.mu.Lock()
	}
}

func (p *pool) take() *attempt {
	a := p.queue[p.head]
	p.queue[p.head] = nil
	p.head++
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	return a
}
