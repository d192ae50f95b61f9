// Package sim plays whole systems of Weft, in one goroutine and from one seed: a shard's machine over a
// journal that fails, a network that delays, cuts and half-cuts, clients, workers and reservers that do what
// DESIGN.md says they do, die, sleep and come back, a broker that is killed between any two steps, and
// clocks that jump.
//
// Three things are checked. The cores check themselves, every few steps. The journal is decoded by a model
// of its own, which holds every record to the rules ([model]), and a machine that reads only the journal has
// to have the state of the one that wrote it. And an observer sees what is told to the outside, and holds it
// to what is durable ([observer]).
//
// Every seed draws which faults it has and how often, and every seed ends the same way: the faults stop,
// everybody comes back, and then every call ends, every future resolves and nothing is left over.
//
// A seed replays exactly: there is no clock, no goroutine and no map order in here.
package sim
