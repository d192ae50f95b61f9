// Package procs runs child processes that never outlive their parent, and commands in their parent's place ([Foreground]).
//
// A child has a process group of its own, so that an interrupt at the keyboard reaches the parent alone,
// and inherits the reading end of a pipe whose writing end only the parent has. However the parent ends,
// the kernel closes that end; the child sees the end of the file and stops in order ([UntilParentDies]).
//
// A child that is ready prints one line of JSON on its standard output, which the parent waits for
// ([Process.Ready]).
package procs
