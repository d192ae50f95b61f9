package client

// fifo is a queue of futures that keeps its memory.
type fifo struct {
	items []*SpecFuture
	head  int
}

// len is how many wait.
func (q *fifo) len() int { return len(q.items) - q.head }

// push adds one at the end.
func (q *fifo) push(f *SpecFuture) {
	if q.head > 1024 && q.head > len(q.items)/2 { // more hole than queue
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, f)
}

// front is the first, if there is one.
func (q *fifo) front() *SpecFuture {
	if q.len() == 0 {
		return nil
	}
	return q.items[q.head]
}

// pop takes the first away.
func (q *fifo) pop() {
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
}

// all is what waits, in order; the slice is the queue's own.
func (q *fifo) all() []*SpecFuture { return q.items[q.head:] }

// set replaces what waits.
func (q *fifo) set(items []*SpecFuture) { q.items, q.head = items, 0 }
