package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// exitCodes are those of the commands that run another one while they hold something.
const exitCodes = "Exit codes: the command's own, 128+n if signal n has ended it; 75 lost, 124 not free in time, 125 Weft failed,\n" +
	"126 not executable, 127 not found, 130 interrupted."

// holdingNote says what the commands have in common that run another one while they hold something.
const holdingNote = "The command has the terminal, the input and the output, and signals are passed on to it. When the broker is out of\n" +
	"reach for too long, or this program stands still (SIGSTOP, a suspended machine), others get it: the command's\n" +
	"whole process group is stopped then (SIGTERM, --grace, SIGKILL). What it does before it notices is protected by its\n" +
	"token alone. It is free again when the command ends, or --ttl after this program or its machine has died.\n"

// lockCommand is `lock`.
func (a *App) lockCommand() *cobra.Command {
	var f holdingFlags
	var shared, reentrant bool
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- COMMAND ARG...",
		Short: "Run a command while it has a lock",
		Long: "Wait for a lock, in turn with others on any machine, and run a command while it is held.\n\n" + holdingNote + "\n" +
			"The command finds the token of the lock in $" + client.EnvFence + ": tokens rise, so whoever guards a resource refuses a lower\n" +
			"one than it has seen. $" + client.EnvHolder + " makes " + a.Name + " within the command act as the same holder: it notifies and waits at\n" +
			"conditions of the lock, has it once more with --reentrant, and a ring of such locks is an error that spells it\n" +
			"out (" + a.Name + " locks --graph). Without $" + client.EnvHolder + " it is another holder: env -u " + client.EnvHolder + " " + a.Name + " lock ...\n\n" + exitCodes,
		Example: "  " + a.Name + " lock backup -- rsync -a src/ dst/\n  " + a.Name + " lock deploy --try -- ./deploy.sh\n" +
			"  " + a.Name + " lock catalog --shared --wait 30s -- ./report.sh",
		Args: nameCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, argv, err := splitCommand(cmd, args)
			if err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			return a.hold(cmd.Context(), &f, argv, func(c *client.Client) *holding {
				return a.lockHolding(c, &f, name, shared, reentrant)
			})
		},
	}
	f.addWaits(cmd)
	f.add(cmd, "the lock")
	cmd.Flags().BoolVar(&shared, "shared", false, "beside others who have it shared: a read lock")
	cmd.Flags().BoolVar(&reentrant, "reentrant", false, "at once if an outer "+a.Name+" lock has it")
	return cmd
}

// lockHolding is a lock to be held.
func (a *App) lockHolding(c *client.Client, f *holdingFlags, name string, shared, reentrant bool) *holding {
	lock := c.Lock(name)
	request := &weftv1.AcquireLockRequest{}
	if shared {
		lock, request.Mode = lock.Shared(), weftv1.LockMode_LOCK_MODE_SHARED
	}
	if reentrant {
		lock = lock.Reentrant()
	}
	return &holding{
		what: "lock " + name,
		acquire: func(ctx context.Context) (context.Context, bool, error) {
			if d, limited := f.limit(); limited {
				return lock.AcquireWithin(ctx, d)
			}
			held, err := lock.Acquire(ctx)
			return held, err == nil, err
		},
		release: func(held context.Context) error { return releaseInherited(held, c, lock, request, !reentrant) },
		environ: lock.Environ,
		look: func(ctx context.Context) (obstacle, bool) {
			state, err := lock.State(ctx)
			if err != nil {
				return obstacle{}, true
			}
			return heldObstacle("Lock "+name+" is with", "", state.GetHolders(), state.GetHoldersCount(), state.GetWaitersCount()), true
		},
	}
}

// heldObstacle says who has what is waited for.
func heldObstacle(before, after string, holders []*weftv1.LockHolder, have, wait uint32) obstacle {
	if len(holders) == 0 {
		return obstacle{}
	}
	words := []string{before, shorten(holders[0].GetName())}
	if have > 1 {
		words = append(words, fmt.Sprintf("and %d more", have-1))
	}
	if after != "" {
		words = append(words, after)
	}
	text := strings.Join(words, " ")
	if wait > 1 {
		text += fmt.Sprintf("; %d wait", wait)
	}
	return obstacle{holders[0].GetName(), text}
}
