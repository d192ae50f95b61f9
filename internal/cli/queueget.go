package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Bounds of a given lease.
const (
	leaseMin = time.Second
	leaseMax = 24 * time.Hour
)

// getFlags are the flags of `queue get`.
type getFlags struct {
	wait   waitFlag
	lease  time.Duration
	kinds  []string
	labels []string
	count  int
	format format
	want   wanted
}

func (a *App) queueGetCommand() *cobra.Command {
	var flags getFlags
	cmd := &cobra.Command{
		Use:   "get QUEUE",
		Short: "Take the next task, print its payload and complete it",
		Long: "Take the next task and print its payload; the task is done once that is written. While there is none it\n" +
			"waits; --wait bounds that (exit code 124), and --wait 0s does not wait. At a queue that is closed it waits\n" +
			"while somebody holds a task that may come back, and ends with exit code 3 when none is left.\n\n" +
			"With --lease the task is held for so long instead, and its name and its token are printed before the\n" +
			"payload, separated by tabs: complete it with task done, or fail, release or renew it; say how far it has come\n" +
			"with task progress and task checkpoint. When the lease is over before, it goes to somebody else. What an\n" +
			"earlier attempt has left as its checkpoint is printed with -o json, and by: task checkpoint TASK.",
		Example: "  " + a.Name + " queue get orders\n  " + a.Name + " queue get orders --lease 5m --wait 10s",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := flags.options(cmd)
			if err != nil {
				return err
			}
			return a.withQueueOf(cmd, args[0], func(ctx context.Context, c *client.Client, q *client.Queue) error {
				stop := a.noteWaiting(ctx, func(ctx context.Context) (obstacle, bool) {
					return nothing(ctx, c, q, flags.want), true
				}, a.Say)
				err := a.get(ctx, q, &flags, opts)
				stop()
				if errors.Is(err, client.ErrEmpty) && ctx.Err() == nil {
					return emptyEnd(q.Name(), nothing(ctx, c, q, flags.want))
				}
				return a.queueEnd(err, q.Name())
			})
		},
	}
	flags.wait.add(cmd, "wait for a task so long at most (exit code 124); 0s is not at all")
	f := cmd.Flags()
	f.DurationVar(&flags.lease, "lease", 0, "hold the task for so long, 1s to 24h, in place of completing it")
	f.StringSliceVar(&flags.kinds, "kind", nil, "only of these `kinds`")
	f.StringArrayVarP(&flags.labels, "label", "l", nil, "also tasks that ask for a worker with this `NAME=VALUE`")
	f.IntVarP(&flags.count, "count", "c", 1, "take `N` tasks")
	formatFlag(cmd, &flags.format)
	return cmd
}

// options checks the flags.
func (f *getFlags) options(cmd *cobra.Command) ([]client.GetOption, error) {
	if err := f.wait.check(); err != nil {
		return nil, err
	}
	if f.count < 1 {
		return nil, Usage("--count %d: 1 or more is possible", f.count)
	}
	var opts []client.GetOption
	if cmd.Flags().Changed("lease") {
		if f.lease < leaseMin || f.lease > leaseMax {
			return nil, Usage("--lease %v: %v to %v are possible", f.lease, leaseMin, leaseMax)
		}
		opts = append(opts, client.WithLease(f.lease))
	}
	for _, kind := range f.kinds {
		if !plainName(kind) {
			return nil, Usage("--kind %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(kind))
		}
	}
	labels, err := parsePairs("--label", f.labels)
	if err != nil {
		return nil, err
	}
	f.want = wanted{f.kinds, labels}
	return append(opts, client.Kinds(f.kinds...), client.WithLabels(labels)), nil
}

// emptyEnd is the end of a get that got nothing, and why.
func emptyEnd(queue string, why obstacle) error {
	if why.text == "" {
		return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("queue %s hands out no task now", queue)}
	}
	return &ExitError{Code: ExitTimeout, Err: fmt.Errorf("queue %s hands out no task now. %s", queue, why.text)}
}

// get takes the tasks one after the other: what was written is done, whatever becomes of the next.
func (a *App) get(ctx context.Context, q *client.Queue, f *getFlags, opts []client.GetOption) error {
	end := time.Now().Add(f.wait.d)
	for range f.count {
		all := opts
		if f.wait.set() {
			all = append(slices.Clip(all), client.Within(max(time.Until(end), 0)))
		}
		h, err := q.Get(ctx, all...)
		if err != nil {
			return err
		}
		if err := a.printHeld(h, f); err != nil {
			_ = h.Release(context.WithoutCancel(ctx)) // else its lease ends by itself
			return fmt.Errorf("write the payload: %w", err)
		}
		if f.lease != 0 {
			continue
		}
		if err := h.Done(context.WithoutCancel(ctx)); err != nil { // it is written: an interrupt comes too late
			return err
		}
	}
	return nil
}

// printHeld prints what was got.
func (a *App) printHeld(h *client.Held, f *getFlags) error {
	switch f.format {
	case formatJSON:
		m := &weftv1.Assignment{TaskId: h.TaskID(), Token: h.Token(), Kind: h.Kind(), Labels: h.Labels(), Attempt: uint32(h.Attempt())} //nolint:gosec // small
		if state, ok := h.Saved(); ok {
			m.Checkpoint = &weftv1.Checkpoint{State: proto.CloneOf(state.Proto())}
		}
		if c := h.Command(); c != nil {
			m.Work = &weftv1.Assignment_Command{Command: c}
		} else if p := h.Payload().Proto(); p != nil {
			m.Work = &weftv1.Assignment_Payload{Payload: proto.CloneOf(p)}
		}
		return a.printJSON(m)
	case formatName:
		_, err := fmt.Fprintln(a.Out, h.TaskID())
		return err
	}
	text := h.Payload().Bytes()
	if c := h.Command(); c != nil {
		text = []byte(quoteArgs(c.GetArgv()))
	}
	line := make([]byte, 0, len(text)+64)
	if f.lease != 0 {
		line = fmt.Appendf(line, "%s\t%d\t", h.TaskID(), h.Token())
	}
	line = append(line, text...)
	if h.Payload().IsText() || len(text) == 0 || h.Command() != nil || f.lease != 0 {
		line = append(line, '\n') // bytes that are no text stay what they are
	}
	_, err := a.Out.Write(line)
	return err
}
