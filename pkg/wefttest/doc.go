// Package wefttest tests programs that use Weft, without a server and without waiting.
//
// [Run] runs a test with a broker, workers and clients in one process, on a clock that jumps: a retry after an hour, a
// schedule's day or a task's deadline takes milliseconds. [Start] is the same in real time. [Recorder] is for a handler
// by itself.
//
//	func TestThumb(t *testing.T) {
//		wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
//			b.Worker(worker.Config{}, func(w *worker.Worker) { worker.Handle(w, Thumb, thumb) })
//			future, err := client.Submit(t.Context(), b.Client(), Thumb, photo)
//			…
//			size, err := future.Wait(t.Context())
//			…
//		})
//	}
//
// The broker is the real one: what it decides is what a broker on a server decides. In place of its journal on a disk
// there is one in memory, which [Broker.Restart] keeps, and in place of a network there are pipes in memory, which can be
// broken.
//
// # Time
//
// Within Run time is that of testing/synctest. It begins at [At], by default 2000-01-01, stands still while any
// goroutine of the test works, and jumps when all of them wait for it. Whatever is done takes no time at all, so "after
// exactly one hour" can be asserted. [Broker.Advance] lets time pass and everything that is due happen; whoever waits
// for a future needs no Advance.
//
// What waits for something outside holds up the time: a connection to a database, a process. So handlers that use the
// network, and workers that run commands, are tested with Start.
package wefttest
