package queue

import (
	"math"
	"time"

	"github.com/weftq/weft/internal/pure"
)

// running is how many of a queue's tasks are held.
func (q *queue) running() uint64 { return q.counts[Running] + q.counts[Cancelling] }

// size is how many tasks wait: what MaxSize bounds. What is purged does so no more.
func (q *queue) size() (n uint64) {
	for s := Scheduled; s <= Ready; s++ {
		n += q.counts[s] - q.gone[s]
	}
	return n
}

// unfinished is how many tasks have not ended.
func (q *queue) unfinished() uint64 { return q.size() + q.running() }

// spent tells whether a queue has nothing more to hand out: it takes nothing, and nothing that it has may still become
// ready. What somebody holds may, as leases end; who closed it at once does not wait for that.
func (q *queue) spent() bool {
	return q.Closed && q.size() == 0 && (q.AtOnce || q.running() == 0)
}

// limited tells whether a queue runs as many tasks as it may.
func (q *queue) limited() bool { return q.MaxRunning > 0 && q.running() >= uint64(q.MaxRunning) }

// opens tells whether a queue hands out a task now. If only its rate stands in the way, it is looked at again
// when that allows the next.
func (c *Core) opens(step *pure.Step, q *queue) bool {
	if q.Paused || q.limited() || c.stuffed(q) {
		return false
	}
	q.quicken(step.Lease)
	if at, ok := q.allowedAt(); ok && at > step.Lease {
		c.rates.Set(q, pure.Key{A: int64(at), B: q.ID})
		return false
	}
	return true
}

// interval is the time between two attempts at the queue's rate, 0 without one.
func (q *queue) interval() time.Duration {
	if q.Rate <= 0 {
		return 0
	}
	return max(time.Duration(math.Min(float64(time.Second)/q.Rate, float64(100*365*24*time.Hour))), 1)
}

// allowedAt is when the rate allows the next attempt. The rate is kept by the generic cell rate algorithm
// (ITU-T I.371): paced is when the last attempt would have begun at a steady pace, and an attempt may
// begin up to a burst before its own moment.
func (q *queue) allowedAt() (pure.Lease, bool) {
	interval := q.interval()
	if interval == 0 {
		return 0, false
	}
	return q.paced.Add(-q.ahead()), true
}

// quicken forgets what is left of a slower rate, from before a change: at this one, nobody waits for longer than
// one interval.
func (q *queue) quicken(now pure.Lease) {
	if interval := q.interval(); interval > 0 {
		q.paced = min(q.paced, now.Add(q.ahead()).Add(interval))
	}
}

// ahead is how long before its own moment an attempt may begin.
func (q *queue) ahead() time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	return time.Duration(min(float64(q.interval())*float64(max(q.Burst, 1)-1), float64(most)))
}

// pace takes an attempt out of the rate's bucket.
func (q *queue) pace(now pure.Lease) {
	if interval := q.interval(); interval > 0 {
		q.paced = min(max(q.paced, now), now.Add(q.ahead())).Add(interval)
	}
}

// soilQueue notes that a queue may hand out tasks again.
func (c *Core) soilQueue(q *queue) {
	for _, p := range q.inOrder {
		if p.lanes.Len() > 0 {
			c.soil(p)
		}
	}
}

// ratesDue looks again at the queues whose rate allows an attempt now.
func (c *Core) ratesDue(now pure.Lease) {
	for {
		q, key, ok := c.rates.Min()
		if !ok || key.A > int64(now) {
			return
		}
		c.rates.Remove(q)
		c.soilQueue(q)
	}
}
