// Package queue is the pure core of Weft's queues: tasks, attempts, leases, retries and calls.
//
//	┌───────────┐ time came ┌───────┐ dispatch ┌─────────┐  report: success   ┌───────────┐
//	│ scheduled │ ────────▶ │ ready │ ───────▶ │ running │ ─────────────────▶ │ succeeded │
//	├───────────┤ others    │       │          └─────────┘  final error       ├───────────┤
//	│ blocked   │ have ended│       │            │ │ │ │ ─────────────────▶   │ failed    │
//	└───────────┘ ────────▶ └───────┘            │ │ │ ▼  cancel              ├───────────┤
//	      ▲                     ▲  worker lost,  │ │ cancelling ───────────▶  │ cancelled │
//	      └─ retry after a pause ─┴─ released ───┴─┘     deadline             ├───────────┤
//	                                                     ──────────────────▶  │ expired   │
//	                                                                          └───────────┘
//
// The core decides commands and applies records. A command is a method that takes a [pure.Step]; what it
// changes it emits as records, and every record changes the state in one place, the apply methods, which
// replaying the journal uses too. Effects are what to tell to workers and clients once the records are
// durable.
//
// What is durable is in [TaskState], [CallState] and [QueueState]. Everything else here is an index, or
// volatile: it is rebuilt from what workers and clients say when they come back.
//
// Invariants (see [Core.Check]): a task has at most one live attempt; tokens rise; an outcome is recorded
// once; a task that can run and a worker with credit for it do not wait beside each other.
package queue
