// Package weft has no code of its own: Weft is a distributed work queue, whose parts are packages.
//
//   - [github.com/weftq/weft/pkg/client] submits tasks to a broker, waits for their results, and puts into and gets from
//     queues;
//   - [github.com/weftq/weft/pkg/worker] runs tasks, by handlers and as commands;
//   - [github.com/weftq/weft/pkg/task] has what both share: kinds of work with their types, payloads, errors;
//   - [github.com/weftq/weft/pkg/wefttest] is a broker in a user's own tests.
//
// The commands are in cmd/weft, programs to begin with in examples.
package weft
