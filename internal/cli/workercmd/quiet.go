package workercmd

import (
	"os"
	"os/signal"
	"syscall"
)

// quietSignal receives the signal that has a worker take no more tasks, before it is told to end.
func quietSignal() (signalC <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c, func() { signal.Stop(c) }
}
