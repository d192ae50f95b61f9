package command

import (
	"runtime"
	"sync"
)

// spawner starts processes from one thread that outlives them all: what the kernel does to a child
// when "its parent" dies happens when the thread dies that forked it (see the package's comment).
type spawner struct {
	once sync.Once
	work chan func()
	quit chan struct{}
}

func newSpawner() *spawner {
	return &spawner{work: make(chan func()), quit: make(chan struct{})}
}

// do calls start on the spawner's thread and returns its error, or ErrClosed.
func (s *spawner) do(start func() error) (err error) {
	s.once.Do(func() { go s.run() })
	done := make(chan struct{})
	select {
	case s.work <- func() { err = start(); close(done) }:
		<-done
		return err
	case <-s.quit:
		return ErrClosed
	}
}

// run unlocks the thread at its end: a thread that is given back lives on.
func (s *spawner) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case start := <-s.work:
			start()
		case <-s.quit:
			return
		}
	}
}

func (s *spawner) close() { close(s.quit) }
