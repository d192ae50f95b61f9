// Package pure has what the cores share: the step in which a command is decided, a refusal, and a few
// data structures. Like the cores it knows no clock, no I/O, no goroutine and no randomness.
package pure
