package sim

import (
	"container/heap"
	"time"
)

// clock is simulated time: what happens when. Things at one moment happen in the order of their scheduling.
type clock struct {
	now    time.Duration
	queue  events
	number uint64
}

type event struct {
	at     time.Duration
	number uint64
	do     func()
}

// after schedules something.
func (c *clock) after(d time.Duration, do func()) {
	c.number++
	heap.Push(&c.queue, event{c.now + max(d, 0), c.number, do})
}

// next moves to the next event and does it.
func (c *clock) next() bool {
	if len(c.queue) == 0 {
		return false
	}
	e := heap.Pop(&c.queue).(event)
	c.now = e.at
	e.do()
	return true
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop implements heap.Interface.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
