// Package worker runs tasks: in-process handlers and commands, on the slots of this process.
//
//	w, err := worker.New(worker.Config{Broker: "127.0.0.1:9338", Slots: 8})
//	worker.Handle(w, Thumb, func(ctx context.Context, photo Photo) (Size, error) { … })
//	err = w.Run(ctx) // until ctx is done, then it drains
//
// # One stream
//
// A worker lives on one stream to the broker (WorkerService.Work). Assignments, reports, credits,
// output and the heartbeat share it, so whoever gets work is also heard. The worker asks for exactly as
// many tasks as it has free slots. When the stream breaks or falls silent it is opened again, for as
// long as the worker runs; nothing that was finished is lost, and what runs goes on for a while:
//
//	stream drops ─▶ each attempt has age/10 left (at least 1 s, at most the session's TTL, and never
//	                longer than the session itself) ─▶ stream is back: it goes on
//	                                                └▶ time is up: it is stopped, as the broker gives
//	                                                   it to another worker by then
//
// # Ends
//
// A handler's context is done when its attempt has to stop; context.Cause says why: task.ErrCancelled,
// task.ErrTimeout, task.ErrDrained or task.ErrLeaseLost. A handler that then returns an error ends the
// attempt for that reason. One that returns a result has succeeded all the same, but for a timeout and a lost lease;
// its partial results are durable before it ends, and one that the broker refuses fails it. A
// handler that does not heed its context keeps its slot: Go cannot stop it, and 30 s after its grace the broker ends
// its attempt without it. Commands are stopped by SIGTERM and SIGKILL (see package command).
//
// # The lease
//
// The worker holds its tasks until the session's TTL after the last heartbeat that the broker answered, by a clock that
// goes on while the machine sleeps. Beyond that nothing is sent of any attempt, until the broker says that it still
// holds them. The handler's own context and task.Current(ctx).Err() look at that clock whenever they are asked. Contexts
// that are derived from it close with its Done channel: when the lease ends, or up to a quarter of a second after a machine
// that slept meanwhile goes on; a process that was stopped (SIGSTOP) finds it closed as soon as its timers run.
//
// A report is kept, and sent again after a reconnect, until the broker has made it durable or refused it.
package worker
