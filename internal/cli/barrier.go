package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// partiesMax is the most parties of a barrier.
const partiesMax = 10_000

// barriersCommand is `barriers`.
func (a *App) barriersCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "barriers",
		Short: "List barriers where somebody waits, and those that are broken",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return barrierListing().print(a, format, allBarriers(ctx, c))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// barrierListing is how barriers are listed.
func barrierListing() *listing[*weftv1.Barrier] {
	return &listing[*weftv1.Barrier]{
		head: []string{"BARRIER", "STATE", "PARTIES", "CAME"},
		row: func(b *weftv1.Barrier) []string {
			parties := ""
			if b.GetParties() > 0 {
				parties = strconv.Itoa(int(b.GetParties()))
			}
			return []string{b.GetName(), barrierWord(b), parties, strconv.Itoa(int(b.GetWaitersCount()))}
		},
		name: (*weftv1.Barrier).GetName,
	}
}

func barrierWord(b *weftv1.Barrier) string {
	switch {
	case b.GetBroken():
		return "broken"
	case b.GetActing():
		return "action runs"
	}
	return "waits"
}

// barrierCommand is `barrier`.
func (a *App) barrierCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "barrier",
		Short: "Wait until as many have come as meet",
		Long: "Wait until as many have come as meet, again and again. One that is gone, or whose time is over, breaks the barrier\n" +
			"for all: who waits there and who comes ends with exit code 1, until it is reset.",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.barrierWaitCommand(),
		a.oneEvent("abort", "Break a barrier", "is broken", func(ctx context.Context, c *client.Client, name string) error {
			_, err := ask(ctx, c, locksClient.AbortBarrier, &weftv1.AbortBarrierRequest{Namespace: c.Namespace(), Name: name, RequestId: rand.Text()})
			return err
		}),
		a.oneEvent("reset", "Make a barrier as new; it is broken for those who wait there", "is reset", func(ctx context.Context, c *client.Client, name string) error {
			_, err := ask(ctx, c, locksClient.ResetBarrier, &weftv1.ResetBarrierRequest{Namespace: c.Namespace(), Name: name, RequestId: rand.Text()})
			return err
		}))
	return cmd
}

func (a *App) barrierWaitCommand() *cobra.Command {
	var timeout timeoutFlag
	var parties int
	var action string
	cmd := &cobra.Command{
		Use:   "wait NAME --parties N",
		Short: "Wait until all have come, and print the place in their order",
		Long: "Wait until all have come, and print the place in their order, from 0 on. If it is broken the exit code is 1, and 124 if\n" +
			"that is because this one's time is over.",
		Example: "  " + a.Name + " barrier wait ready --parties 3 --timeout 1m --action './merge.sh'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case !cmd.Flags().Changed("parties"):
				return Usage("--parties: how many meet?")
			case parties < 1 || parties > partiesMax:
				return Usage("--parties %d: 1 to %d are possible", parties, partiesMax)
			case cmd.Flags().Changed("action") && action == "":
				return Usage("--action: which command?")
			}
			if err := cmp.Or(checkObject(args[0]), timeout.check()); err != nil {
				return err
			}
			return a.withHolder(cmd, "barrier wait", func(ctx context.Context, c *client.Client) error {
				var opts []client.BarrierOption
				if action != "" {
					opts = append(opts, client.Action(func(ctx context.Context) error { return a.barrierAction(ctx, c, action) }))
				}
				return a.meet(ctx, c.Barrier(args[0], parties, opts...), &timeout)
			})
		},
	}
	timeout.add(cmd)
	cmd.Flags().IntVarP(&parties, "parties", "p", 0, "how many meet, 1 to 10000: all say the same `N`")
	bounded(cmd.Flags(), "parties", "1 to 10000")
	cmd.Flags().StringVar(&action, "action", "", "the last one that comes runs this `line` of /bin/sh before all go on; if it fails the barrier is broken")
	return cmd
}

// meet waits for the others.
func (a *App) meet(ctx context.Context, b *client.Barrier, timeout *timeoutFlag) error {
	wait := b.Wait
	if timeout.set() {
		wait = func(ctx context.Context) (int, error) { return b.WaitWithin(ctx, timeout.d) }
	}
	begun := time.Now()
	index, err := wait(ctx)
	switch {
	case err == nil:
	case errors.Is(err, client.ErrBrokenBarrier) && timeout.set() && time.Since(begun) >= timeout.d:
		return &ExitError{Code: ExitTimeout, Err: err}
	default:
		return noOf(err)
	}
	_, err = fmt.Fprintln(a.Out, index)
	return err
}

// barrierAction runs the action of a meeting.
func (a *App) barrierAction(ctx context.Context, c *client.Client, line string) error {
	code, err := a.shellLine(ctx, line, a.brokerEnv(c))
	if err != nil {
		return err
	}
	if code != 0 {
		return no(fmt.Errorf("--action %s: exit code %d", quoteArg(line), code))
	}
	return nil
}
