// Package client is Weft's client: it submits tasks to a broker and gives futures of their outcomes.
//
//	c, err := client.Dial("")
//	if err != nil { … }
//	defer c.Close()
//	future, err := client.Submit(ctx, c, Thumb, photo) // a kind of task, see task.Define
//	if err != nil { … }
//	size, err := future.Wait(ctx)
//
// A [Client] is a connection. [Submit] gives a task of a kind and returns its [Future]; [Map] has a task for each of
// a sequence of inputs; [AsCompleted] and [Wait] wait for several. What belongs together is a [Pool], or a [Call]: a
// group of tasks on one stream, which comes back by itself when it is cut. [Attach] is the future of a task of another
// program, [AttachCall] those of a call. [Client.Enqueue] submits a task that nobody here waits for. A [Queue] has the operations of Python's queue.Queue. Single tasks and workers have methods on the client.
//
// Tasks without a type are a [Spec]: commands, say, and what is put into queues. Their futures are [SpecFuture], their
// maps [MapSpecs].
//
// Programs that synchronize have what threads of one machine have: [Lock], [Condition], [Semaphore], [SharedEvent],
// [Barrier], [Value], and an [Election]. What is held ends with the client's lease, and the context of it, too.
//
// # How a call survives
//
// Every task has an index in its call, and every index is in one of these states:
//
//	queued ──▶ sent ──▶ accepted ──▶ resolved ──▶ settled
//	   ▲        │
//	   └────────┘ the stream was cut before the broker had it
//
// A new stream says what is settled; the broker answers with what it has accepted, and sends the
// outcomes of the rest. So the client sends again exactly what did not arrive, drops an outcome that it
// has seen, and loses nothing.
package client
