// Package lockservice synchronizes holders: the pure core of Weft's locks, conditions, semaphores, events, barriers
// and values.
//
//	             acquire, free                         release, end of the holder
//	nobody's ───────────────────────▶ held ◀───┐ ───────────────────────────────▶ free
//	   └─ acquire, taken ─▶ waits ─────────────┘ granted: first come, first served
//	                          └─▶ time over, abandoned, deadlock, holder gone
//
// A holder ([HolderID]) is the thread of one machine, inside of a session. What it holds is a [Grant] with a fencing
// token, and what it waits for is a [Waiter]; both are durable, and end with the session. A waiter is resolved exactly
// once. Locks and conditions exist while somebody holds them or waits at them; the others have a state of their own.
//
// The answer to a request that changed something is kept until its client has it (memory.go), so that repeating a
// request is safe.
//
// The wait-for graph is searched whenever it gets an edge that may close a cycle (deadlock.go).
package lockservice
