package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// putFlags are the flags of `queue put`.
type putFlags struct {
	taskFlags
	keepFlags
	retryFlags
	wait    waitFlag
	kind    string
	labels  []string
	timeout time.Duration
	format  format
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
				p := &putting{app: a, queue: q, spec: spec, wait: &flags.wait, format: flags.format, several: len(data) > 1 || data[0] == "-"}
				defer a.noteWaiting(ctx, p.obstacle, a.Say)()
				if data[0] == "-" {
					return p.lines(ctx, a.In, flags.nul)
				}
				return p.all(ctx, slices.Values(data))
			})
		},
	}
	flags.taskFlags.add(cmd)
	flags.retryFlags.add(cmd, retriesUsage)
	flags.addWhen(cmd)
	flags.wait.add(cmd, "wait for room so long at most (exit code 124); 0s is not at all")
	f := cmd.Flags()
	f.StringVar(&flags.kind, "kind", client.DataKind, "the tasks' `kind`")
	f.StringArrayVarP(&flags.labels, "label", "l", nil, "`NAME=VALUE` for people and filters")
	f.DurationVar(&flags.timeout, "timeout", 0, "stop an attempt that takes longer")
	flags.keepFlags.add(cmd, "the queue's, else 1 minute after a consumer has done the task")
	f.BoolVarP(&flags.nul, "null", "0", false, "data of standard input ends with a NUL byte")
	formatFlag(cmd, &flags.format)
	return cmd
}

// spec is a task without its data.
func (f *putFlags) spec() (spec client.Spec, err error) {
	if err := f.retryFlags.check(); err != nil {
		return spec, err
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
	if err := f.change(&spec.Retry); err != nil {
		return spec, err
	}
	return spec, f.fill(&spec)
}

// putting is one `queue put`.
type putting struct {
	app     *App
	queue   *client.Queue
	spec    client.Spec
	wait    *waitFlag
	format  format
	several bool
	full    string      // what is said of a full queue
	done    int         // data of which it is known what became of them
	waits   atomic.Bool // for the queue, and not for data
}

// obstacle is why what is put is not in the queue yet.
func (p *putting) obstacle(ctx context.Context) (obstacle, bool) {
	if !p.waits.Load() {
		return obstacle{}, true
	}
	return roomObstacle(ctx, p.queue), true
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

// all puts tasks and prints their names, in order, without those that are refused.
func (p *putting) all(ctx context.Context, data iter.Seq[string]) error {
	var specs []client.Spec
	for text := range data {
		if len(text) > task.PayloadBytesMax {
			return fmt.Errorf("data %d (%s) %w", p.done+len(specs)+1, shorten(text), errTooLarge)
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
	p.waits.Store(true)
	out, err := p.queue.PutBatch(ctx, specs, bounds...)
	p.waits.Store(false)
	return p.tell(ctx, specs, out, err)
}

// refusedSaid is how many of the data that are refused together are named.
const refusedSaid = 10

// tell prints the names of what was put, and names what was not, where it is one of several.
func (p *putting) tell(ctx context.Context, specs []client.Spec, out []client.Enqueued, err error) error {
	if n := len(out); err != nil && n > 0 && out[n-1].Err != nil {
		out = out[:n-1] // it waited when the end came
	}
	var first error
	refused := 0
	for i, s := range out {
		if s.Err == nil {
			p.done++
			if err := p.app.made(p.format, s.TaskID, &weftv1.SubmitTaskResponse{TaskId: s.TaskID, Joined: s.Joined}); err != nil {
				return fmt.Errorf("write the name: %w", err)
			}
			continue
		}
		end := p.end(ctx, s.Err)
		p.done++
		if refused++; first == nil {
			first = end
		}
		if p.several && refused <= refusedSaid {
			p.app.Say("data %d (%s): %s", p.done, shorten(specs[i].Payload.String()), p.app.words(end))
		}
	}
	if err != nil && p.several && len(out) < len(specs) {
		p.app.Say("data %d (%s) and what follows: not confirmed", p.done+1, shorten(specs[len(out)].Payload.String()))
	}
	switch {
	case err != nil:
		return p.end(ctx, err)
	case refused > 0 && p.several:
		return &ExitError{Code: ExitCode(first), Err: fmt.Errorf("%d of %d data are not in queue %s", refused, len(specs), p.queue.Name())}
	}
	return first
}

// end gives the end of a put its exit code.
func (p *putting) end(ctx context.Context, err error) error {
	if !errors.Is(err, client.ErrFull) {
		return p.app.queueEnd(err, p.queue.Name())
	}
	if p.full == "" {
		p.full = "queue " + p.queue.Name() + " is full"
		if info, err := p.queue.Info(ctx); err == nil && info.GetMaxSize() > 0 {
			p.full += fmt.Sprintf(": its max size is %d", info.GetMaxSize())
		}
	}
	return &ExitError{Code: ExitTimeout, Err: errors.New(p.full)}
}

// queueEnd gives the ends of puts and gets their exit codes.
func (a *App) queueEnd(err error, queue string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errInterrupted):
		return errInterrupted
	case errors.Is(err, client.ErrQueueClosed):
		return &ExitError{Code: ExitClosed, Err: fmt.Errorf("queue %s is closed", queue)}
	default:
		return err
	}
}
