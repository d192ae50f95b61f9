package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// runCommand is `run`.
func (a *App) runCommand() *cobra.Command {
	var flags commandFlags
	var noStdin, local bool
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND ARG...",
		Short: "Run a command on a worker as if it ran here",
		Long: "Run a command on a worker as if it ran here: its output comes as it is written, its input is\n" +
			"what comes in, unless that is a terminal, and its exit code becomes the exit code.\n\n" +
			"Interrupt once to ask the command to stop, twice to kill it, three times to leave it. When the command\n" +
			"interrupts this program (" + a.Name + " interrupt), it is asked to stop, and the exit code is 130.\n" +
			"Weft's own exit codes: 124 timeout, 125 Weft failed, 126 refused, 127 not found,\n" +
			"128+n ended by signal n, 130 interrupted.",
		Example: "  " + a.Name + " run -- sh -c 'echo hello; exit 3'\n  " + a.Name + " run --shell -- 'ls | wc -l'",
		Args:    commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := flags.spec()
			if err != nil {
				return err
			}
			if err := checkArgs(args); err != nil {
				return err
			}
			spec.Daemon = true
			var stdin []byte
			if !noStdin && !isTerminal(a.In) {
				if stdin, err = readStdin(a.In); err != nil {
					return err
				}
			}
			spec.Command = withArgs(spec.Command, args, stdin)
			if err := checkSize(spec.Command); err != nil {
				return err
			}
			return a.run(cmd.Context(), spec, local)
		},
	}
	flags.add(cmd)
	flags.addWhen(cmd)
	a.localFlag(cmd, &local)
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "leave standard input alone")
	return cmd
}

// commandArgs wants a command.
func commandArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return Usage("%s: which command?", cmd.Name())
	}
	return nil
}

// run runs one task to its end.
func (a *App) run(ctx context.Context, spec client.Spec, local bool) error {
	connecting, connected := a.Interruptible(ctx)
	c, end, err := a.DialLocal(connecting, local)
	connected()
	if err != nil {
		return err
	}
	defer end()
	r := &running{app: a, client: c, out: newOutput(a.Out, a.Err), begun: make(chan string, 1)}
	r.out.restarted = func() { a.Say("another attempt has begun: the command runs again from its beginning") }
	call := c.NewCall(client.ExplicitAck(), client.OnUpdate(r.update))
	defer call.Close()
	future, err := call.Submit(ctx, spec)
	if err != nil {
		return err
	}
	r.stopWaiting = a.noteWaiting(ctx, a.callObstacle(c, call.ID(), spec.Queue), a.Say)
	defer r.stopWaiting()
	notified, forget := client.NotifyContext(ctx, call)
	defer forget()
	if err := r.wait(ctx, notified, future); err != nil || !r.byTask {
		return err
	}
	return errInterrupted
}

// Say tells the person something that is not the command's.
func (a *App) Say(format string, args ...any) {
	fmt.Fprintf(a.Err, a.Name+": "+format+"\n", args...)
}

// running is one `run`.
type running struct {
	app         *App
	client      *client.Client
	out         *output
	begun       chan string // the task's name, once it begins
	interrupted int
	byTask      bool   // the task has interrupted it
	stopWaiting func() // ends the words about why it does not begin
}

// update starts the output when the task begins. It is called from the receiving goroutine.
func (r *running) update(u client.Update) {
	if u.State != weftv1.TaskState_TASK_STATE_RUNNING {
		return
	}
	select {
	case r.begun <- u.TaskID:
	default: // another attempt: the watch that is there goes on with it
	}
}

// wait follows the task and climbs the ladder with each signal. notified ends when the task interrupts it.
func (r *running) wait(ctx, notified context.Context, f *client.SpecFuture) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var watched chan error // nil until there is a watch
	notifiedC := notified.Done()
	for {
		select {
		case <-notifiedC:
			notifiedC = nil
			r.stopBy(f, context.Cause(notified))
		case taskID := <-r.begun:
			if watched == nil {
				r.stopWaiting()
				watched = make(chan error, 1)
				go func() { watched <- r.out.follow(watching, r.client, taskID, nil) }()
			}
		case s := <-r.app.Signal:
			if err := r.climb(f, s, watched != nil || len(r.begun) > 0); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.Done():
			return r.finish(ctx, f, watched, stop)
		}
	}
}

// climb is the cancel ladder: ask, kill, leave. There is nothing to kill of a task that has not begun.
func (r *running) climb(f *client.SpecFuture, s os.Signal, begun bool) error {
	r.interrupted++
	switch {
	case r.interrupted == 1 && begun:
		r.app.Say("asked the command to stop; interrupt again to kill it")
		f.Cancel(0)
		return nil
	case r.interrupted == 1:
		r.app.Say("cancelling the task, which no worker has begun; interrupt again to leave it")
		f.Cancel(0)
		return nil
	case r.interrupted == 2 && begun:
		r.app.Say("killing the command; interrupt again to leave it")
		f.Cancel(client.KillNow)
		return nil
	default:
		return left(s)
	}
}

// stopBy asks the command to stop because it has interrupted this program.
func (r *running) stopBy(f *client.SpecFuture, cause error) {
	text, ok := interruptText(cause)
	if !ok {
		return // ctx has ended
	}
	r.byTask = true
	r.app.Say("%s", text)
	if r.interrupted == 0 {
		r.interrupted = 1
		f.Cancel(0)
	}
}

// watchTail is how long a watch may take to end after its task.
const watchTail = 10 * time.Second

// finish writes the rest of the output, lets the outcome go and gives the exit code.
func (r *running) finish(ctx context.Context, f *client.SpecFuture, watched <-chan error, stop func()) error {
	outcome, err := f.Wait(ctx)
	if err != nil {
		return err
	}
	if watched != nil {
		late := time.AfterFunc(watchTail, stop)
		err = <-watched // then the output is nobody else's; what is missing follows
		late.Stop()
		if _, closed := errors.AsType[*os.PathError](err); closed { // nobody takes the output
			return err
		}
	}
	err = r.out.finish(ctx, r.client, f.TaskID(), outcome)
	f.Ack()
	if err != nil || r.byTask {
		return err
	}
	return r.app.end(outcome)
}

// end turns an outcome into the process's end.
func (a *App) end(outcome *client.Outcome) error {
	code := outcomeExit(outcome)
	if code == 0 || saysItself(outcome) {
		return exit(code)
	}
	return &ExitError{Code: code, Err: outcome.Err()}
}
