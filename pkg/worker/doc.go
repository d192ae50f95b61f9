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
// attempt for that reason. One that returns a result has succeeded all the same, but for a timeout. A
// handler that does not heed its context keeps its slot: Go cannot stop it. Commands are stopped by
// SIGTERM and SIGKILL (see package command).
//
// A report is kept, and sent again after a reconnect, until the broker has made it durable or refused it.
package worker
