//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

const (
	roleMap = "map"
	envMap  = "WEFT_E2E_MAP" // the broker and the map's name
)

// holdKind is a task that the ledger lets go.
var holdKind = task.DefineWith("hold", task.TextCodec(), task.TextCodec())

// heldInputs is how many inputs the process maps.
const heldInputs = 30

// mapMain is a process that maps inputs under a name, and says each result.
func mapMain() int {
	ctx := procs.UntilParentDies(context.Background())
	if err := mapOnce(ctx, strings.Fields(os.Getenv(envMap))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func mapOnce(ctx context.Context, args []string) error {
	c, err := client.Dial(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it is about to end
	inputs := func(yield func(string) bool) {
		for i := range heldInputs {
			if !yield(fmt.Sprint("input ", i)) {
				return
			}
		}
	}
	for r := range client.Map(ctx, c, holdKind, inputs, client.Name(args[1]), client.InFlight(10)) {
		if r.Err != nil {
			return r.Err
		}
		fmt.Println(r.Index, r.Out)
	}
	return nil
}

// mapper starts such a process.
func (w *world) mapper(broker, name string) *queuer {
	w.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), w.env...), envRole+"="+roleMap, envMap+"="+broker+" "+name)
	cmd.Dir = w.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopPatience
	p := &program{world: w, cmd: cmd}
	cmd.Stderr = &p.stderr
	q := &queuer{program: p.watch().start()}
	q.lines = bufio.NewReader(p.live)
	return q
}

// A map with a name whose process is killed midway, and that is run again, repeats nothing: what had ended is told, what
// ran goes on, and each result comes once.
func TestNamedMapIsKilled(t *testing.T) {
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 8})
	release := func(from, to int) {
		for i := from; i < to; i++ {
			in := fmt.Sprint("input ", i)
			l.release(&l.await(w.context(), 1, func(e *event) bool { return e.Phase == begin && e.Task == in })[0])
		}
	}
	results := func(m *queuer, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if got, want := m.line(), fmt.Sprintf("%d input %d", i, i); got != want {
				t.Fatalf("a result %q, want %q", got, want)
			}
		}
	}
	const midway = heldInputs / 3
	first := w.mapper(b.addr, "nightly")
	release(0, midway)
	results(first, 0, midway)
	l.await(w.context(), midway+4, begins("")) // others are running
	first.signal(syscall.SIGKILL)
	first.end()
	second := w.mapper(b.addr, "nightly")
	release(midway, heldInputs)
	results(second, 0, heldInputs)
	if code := second.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, second.stderr.String())
	}
	if runs := l.await(w.context(), heldInputs, begins("")); len(runs) != heldInputs {
		t.Errorf("%d runs of %d inputs: %+v", len(runs), heldInputs, runs)
	}
}
