package workercmd

import (
	"os"
	"os/signal"
	"syscall"
)

// QuietSignal receives the signal that has a worker take no more tasks, before it is told to end: from before the
// worker says that it is there, or the signal would end it.
func QuietSignal() (signalC <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}
