// Package command runs a weftv1.Command on this machine and keeps what it writes.
//
// A [Runner] has the rules: what may run ([Policy]) and how much output is kept ([Config]). Its
// [Runner.Start] gives a [Process], which is stopped by a ladder ([Process.Stop]), followed while it
// runs and afterwards ([Process.Output]), and ends with an [Outcome].
//
// # Life of a process
//
//	Start ─▶ leader runs ─▶ leader exits ─▶ group is empty ─▶ pipes are read out ─▶ Done
//	            │  Stop: SIGTERM                ▲
//	            └─ grace ─▶ SIGKILL ────────────┘
//
// The command is the leader of a process group of its own. Done means that nobody of that group is
// left: children that outlive the leader get SIGTERM and, [Config.LeftoverGrace] later, SIGKILL. A
// process that left the group (setsid) is out of reach; if it holds the pipes open, they are closed
// after [Config.PipeDelay].
//
// # Environment
//
// A command has the worker's environment, but for WEFT_KEY: the worker's credential is not for whoever may have the
// worker run something. What the worker says of the attempt is laid over it, and what the command asks for over both.
//
// # When the worker dies
//
// On Linux the kernel kills the leader when the worker's process is gone, however it went
// (PR_SET_PDEATHSIG). That signal is tied to the thread that forked, not to the process: a Go
// program may end a thread whenever a goroutine that locked it returns, and would kill commands that
// happened to be started there. So a Runner starts everything from one thread that is its own and
// that outlives them. The leader's children get no such signal; to be sure of them run the worker in
// a container or a cgroup that ends with it. macOS has nothing of the kind.
package command
