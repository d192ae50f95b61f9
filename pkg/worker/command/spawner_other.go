//go:build unix && !linux

package command

// spawner starts processes from any thread: nothing is tied to it here.
type spawner struct{}

func newSpawner() *spawner { return &spawner{} }

func (*spawner) do(start func() error) error { return start() }

func (*spawner) close() {}
