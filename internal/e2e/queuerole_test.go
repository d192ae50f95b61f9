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

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

const (
	roleQueue = "queue"
	envQueue  = "WEFT_E2E_QUEUE" // broker, queue and, for a put, what to put
)

// queueMain is a process that puts one task, or gets one and completes it: it says so before it asks, and what
// came out at the end.
func queueMain() int {
	ctx := procs.UntilParentDies(context.Background())
	said, err := queueOnce(ctx, strings.Fields(os.Getenv(envQueue)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(said)
	return 0
}

func queueOnce(ctx context.Context, args []string) (string, error) {
	c, err := client.Dial(args[0])
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }() // it is about to end
	q := c.Queue(args[1])
	fmt.Println("asks")
	if len(args) == 3 {
		return q.Put(ctx, client.Spec{Payload: task.Text(args[2])})
	}
	h, err := q.Get(ctx, client.Kinds(client.DataKind))
	if err != nil {
		return "", err
	}
	return h.Payload().String(), h.Done(ctx)
}

// queuer is such a process.
type queuer struct {
	*program
	lines *bufio.Reader
}

// queuer starts one and waits until it asks.
func (w *world) queuer(args ...string) *queuer {
	w.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), w.env...), envRole+"="+roleQueue, envQueue+"="+strings.Join(args, " "))
	cmd.Dir = w.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopPatience
	p := &program{world: w, cmd: cmd}
	cmd.Stderr = &p.stderr
	q := &queuer{program: p.watch().start()}
	q.lines = bufio.NewReader(p.live)
	if line := q.line(); line != "asks" {
		w.Fatalf("a process says %q", line)
	}
	return q
}

func (q *queuer) line() string {
	q.world.Helper()
	line, err := q.lines.ReadString('\n')
	if err != nil {
		q.world.Fatalf("%v: %s", err, q.stderr.String())
	}
	return strings.TrimSpace(line)
}

// result is what came out.
func (q *queuer) result() string {
	q.world.Helper()
	line := q.line()
	if code := q.end(); code != 0 {
		q.world.Errorf("exit code %d: %s", code, q.stderr.String())
	}
	return line
}
