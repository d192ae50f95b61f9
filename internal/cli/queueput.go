package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// putFlags are the flags of `queue put`.
type putFlags struct {
	taskFlags
	keepFlags
	wait    waitFlag
	kind    string
	labels  []string
	retries int
	timeout time.Duration
	nul     bool
}

func (a *App) queuePutCommand() *cobra.Command {
	var flags putFlags
	cmd := &cobra.Command{
		Use:   "put QUEUE DATA... | -",
		Short: "Put tasks into a queue, and print their names",
		Long: "Put tasks into a queue, one for each DATA, or with - for each line of standard input, and print their names.\n" +
			"While the queue is full it waits for room; --wait bounds that (exit code 124), and --wait 0s does not wait.\n" +
			"A queue that is closed takes nothing (exit code 3).",
		Example: "  " + a.Name + " queue put orders tea milk\n  ls | " + a.Name + " queue put files -",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := flags.spec()
			if err != nil {
				return err
			}
			name, data := args[0], args[1:]
			switch {
			case len(data) == 0:
				return Usage("queue put: which data? Lines of standard input are: -")
			case len(data) > 1 && slices.Contains(data, "-"):
				return Usage("queue put: data, or - for standard input: one of them")
			}
			return a.withQueue(cmd, name, func(ctx context.Context, q *client.Queue) error {
				p := &putting{app: a, queue: q, spec: spec, wait: &flags.wait}
				if data[0] == "-" {
					return p.lines(ctx, a.In, flags.nul)
				}
				return p.all(ctx, slices.Values(data))
			})
		},
	}
	flags.taskFlags.add(cmd)
	flags.addWhen(cmd)
	flags.wait.add(cmd, "wait for room so long at most (exit code 124); 0s is not at all")
	f := cmd.Flags()
	f.StringVar(&flags.kind, "kind", client.DataKind, "the tasks' `kind`")
	f.StringArrayVarP(&flags.labels, "label", "l", nil, "`NAME=VALUE` for people and filters")
	f.IntVar(&flags.retries, "retries", 0, "try again so often after a failure")
	f.DurationVar(&flags.timeout, "timeout", 0, "stop an attempt that takes longer")
	flags.keepFlags.add(cmd, "the queue's, else 1 minute after a consumer has done the task")
	f.BoolVarP(&flags.nul, "null", "0", false, "data of standard input ends with a NUL byte")
	return cmd
}

// spec is a task without its data.
func (f *putFlags) spec() (spec client.Spec, err error) {
	if f.retries < 0 || f.retries > retriesMax {
		return spec, Usage("--retries %d: 0 to %d are possible", f.retries, retriesMax)
	}
	if err := cmp.Or(checkSpan("timeout", f.timeout, timeoutMax), f.keepFlags.check()); err != nil {
		return spec, err
	}
	if !plainName(f.kind) {
		return spec, Usage("--kind %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(f.kind))
	}
	if err := f.wait.check(); err != nil {
		return spec, err
	}
	if spec.Labels, err = parsePairs("--label", f.labels); err != nil {
		return spec, err
	}
	spec.Kind, spec.Timeout = f.kind, f.timeout
	f.keep(&spec)
	if f.retries > 0 {
		spec.Retry.Attempts = f.retries + 1
	}
	return spec, f.fill(&spec)
}

// putting is one `queue put`.
type putting struct {
	app   *App
	queue *client.Queue
	spec  client.Spec
	wait  *waitFlag
}

// putBatchMax is how many lines go together.
const putBatchMax = 1000

// lines puts the lines of a reader as they come: what is there already goes together.
func (p *putting) lines(ctx context.Context, from io.Reader, nul bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lineC := make(chan string, putBatchMax)
	failed := make(chan error, 1)
	go func() { // ends with the input, or once it goes on after the command has ended
		defer close(lineC)
		for line := range readInputs(from, nul, func(err error) { failed <- err }) {
			select {
			case lineC <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		batch, more := gather(ctx, lineC)
		if err := p.all(ctx, slices.Values(batch)); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	select {
	case err := <-failed:
		return err
	default:
		return context.Cause(ctx)
	}
}

// gather waits for a first line and takes those that are there with it; false is the end.
func gather(ctx context.Context, lineC <-chan string) (batch []string, more bool) {
	select {
	case line, ok := <-lineC:
		if !ok {
			return nil, false
		}
		batch = append(batch, line)
	case <-ctx.Done():
		return nil, false
	}
	for len(batch) < putBatchMax {
		select {
		case line, ok := <-lineC:
			if !ok {
				return batch, false
			}
			batch = append(batch, line)
		default:
			return batch, true
		}
	}
	return batch, true
}

// all puts tasks and prints their names, in order up to the first that is refused.
func (p *putting) all(ctx context.Context, data iter.Seq[string]) error {
	var specs []client.Spec
	for text := range data {
		if len(text) > task.PayloadBytesMax {
			return fmt.Errorf("data %d (%s) %w", len(specs)+1, shorten(text), errTooLarge)
		}
		spec := p.spec
		spec.Payload = task.Text(text)
		specs = append(specs, spec)
	}
	if len(specs) == 0 {
		return nil
	}
	var bounds []client.Bound
	if bound, set := p.wait.bound(); set {
		bounds = append(bounds, bound)
	}
	out, err := p.queue.PutBatch(ctx, specs, bounds...)
	for _, s := range out {
		if s.Err != nil {
			return p.app.queueEnd(s.Err, p.queue.Name())
		}
		fmt.Fprintln(p.app.Out, s.TaskID)
	}
	return p.app.queueEnd(err, p.queue.Name())
}

// queueEnd gives the ends of puts and gets their exit codes.
func (a *App) queueEnd(err error, queue string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errInterrupted):
		return errInterrupted
	case errors.Is(err, client.ErrFull):
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("queue %s is full", queue)}
	case errors.Is(err, client.ErrEmpty):
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("queue %s hands out no task now (weft queue show %s)", queue, queue)}
	case errors.Is(err, client.ErrQueueClosed):
		return &ExitError{Code: ExitClosed, Err: fmt.Errorf("queue %s is closed", queue)}
	default:
		return err
	}
}
