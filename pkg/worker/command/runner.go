//go:build unix

package command

import (
	"errors"
	"sync"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	// OutputBytesDefault is how much of each stream an outcome keeps when the command does not say.
	OutputBytesDefault = 64 << 10
	// OutputBytesMax is how much of each stream an outcome keeps at most.
	OutputBytesMax = 192 << 10
	// SpoolBytesDefault is the default of Config.SpoolBytesMax.
	SpoolBytesDefault = 1 << 30
)

// ErrClosed is returned by Start after Close.
var ErrClosed = errors.New("command: the runner is closed")

// Config says what a Runner may run and keep.
type Config struct {
	// Policy says which commands may run.
	Policy Policy
	// SpoolDir is where output goes that outgrows memory (256 KiB a stream). Default os.TempDir().
	// The files have no names, so nothing can be left behind there.
	SpoolDir string
	// SpoolBytesMax limits the files of one attempt, both streams together. What goes beyond is
	// counted and not kept. Default 1 GiB.
	SpoolBytesMax int64
	// LeftoverGrace is the time between SIGTERM and SIGKILL for children that outlive the command.
	// Default 1 s.
	LeftoverGrace time.Duration
	// PipeDelay is how long output is still read once the group is gone: a process that left the
	// group may hold the pipes for ever. Default 1 s.
	PipeDelay time.Duration
}

func (c Config) withDefaults() Config {
	if c.SpoolBytesMax == 0 {
		c.SpoolBytesMax = SpoolBytesDefault
	}
	if c.LeftoverGrace == 0 {
		c.LeftoverGrace = time.Second
	}
	if c.PipeDelay == 0 {
		c.PipeDelay = time.Second
	}
	return c
}

// Runner starts commands. It may be used by many goroutines.
type Runner struct {
	cfg     Config
	spawner *spawner

	mu        sync.Mutex
	closed    bool
	processes map[*Process]struct{} // not released yet
}

// New returns a Runner. It fails if the policy has an entry that can match nothing.
func New(cfg Config) (*Runner, error) {
	if err := cfg.Policy.validate(); err != nil {
		return nil, err
	}
	return &Runner{
		cfg:       cfg.withDefaults(),
		spawner:   newSpawner(),
		processes: make(map[*Process]struct{}),
	}, nil
}

// Start starts a command, with this process's environment, but for WEFT_KEY; env is laid over it, and the command's own
// over both. Its error is ErrClosed, or a *task.Error for the attempt's report: with
// reason "refused" if the policy does not allow the command or the file is not executable,
// "not_found" if there is no such program, "error" otherwise.
func (r *Runner) Start(cmd *weftv1.Command, env map[string]string) (*Process, error) {
	path, args, err := r.cfg.Policy.resolve(cmd)
	if err != nil {
		return nil, err
	}
	environment, err := environ(cmd, env)
	if err != nil {
		return nil, err
	}
	p := r.newProcess(cmd)
	if err := p.start(path, args, environment, cmd); err != nil {
		return nil, err
	}
	if !r.add(p) { // Close came in between and does not know of it
		p.Stop(ErrClosed, 0)
		<-p.Done()
		p.Release()
		return nil, ErrClosed
	}
	return p, nil
}

// Close kills what runs, waits for its end and releases all output. Start fails from then on. A second
// Close does nothing, and does not wait for the first.
func (r *Runner) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	processes := make([]*Process, 0, len(r.processes))
	for p := range r.processes {
		processes = append(processes, p)
	}
	r.mu.Unlock()
	for _, p := range processes {
		p.Stop(ErrClosed, 0)
	}
	for _, p := range processes {
		<-p.Done()
		p.Release()
	}
	r.spawner.close()
}

func (r *Runner) add(p *Process) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.processes[p] = struct{}{}
	}
	return !r.closed
}

func (r *Runner) remove(p *Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.processes, p)
}
