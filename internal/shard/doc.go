// Package shard composes the cores into one state machine with one journal, and runs it.
//
// [Machine] is the state machine: commands in, one journal entry and a list of deliveries out. It has no
// goroutine, no clock and no I/O, so that the simulator can drive it one step at a time. [Loop] is the
// shell around it: the one goroutine that owns the state, the append under way, the clock, the timer.
//
// Two rules are kept here. Nothing is told (reply, assignment, notification) before the entry that caused
// it is durable, and reads are told no earlier than what they have seen. And any append that is not
// acknowledged ends the term: the state is thrown away and read from the journal again.
package shard
