package cli

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
)

// condCommand is `cond`.
func (a *App) condCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cond",
		Short: "Wait at a condition, or notify those who wait",
		Long: "Wait at a condition, or notify those who wait. A condition belongs to a lock: what is waited for is changed and looked\n" +
			"at with the lock held.\n\n" +
			"Within " + a.Name + " lock the commands use the lock that it has ($" + client.EnvHolder + "). Otherwise they take it for as long\n" +
			"as they run. Conditions need no declaration.",
		Example: "  " + a.Name + " lock stock -- sh -c '" + a.Name + " cond wait filled --lock stock --until \"test -s box\"; mv box mine'\n" +
			"  " + a.Name + " lock stock -- sh -c 'echo tea > box; " + a.Name + " cond notify filled --lock stock'",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.condWaitCommand(), a.condNotifyCommand())
	return cmd
}

// condFlags are the flags of `cond`.
type condFlags struct {
	lock    string
	until   string
	timeout timeoutFlag
	token   bool
	count   int
	all     bool
}

func (f *condFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.lock, "lock", "", "the `lock` of the condition (default the one of its name)")
}

// condition is the condition with its lock, which a holder may have several times.
func (f *condFlags) condition(c *client.Client, name string) *client.Condition {
	if f.lock == "" {
		return c.Condition(name, nil)
	}
	return c.Condition(name, c.Lock(f.lock).Reentrant())
}

func (a *App) condWaitCommand() *cobra.Command {
	var f condFlags
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Give the lock up until somebody notifies, and have it again",
		Long: "Give the lock up, wait until somebody notifies, and have the lock again, in one step: no notification is lost in\n" +
			"between, and none wakes two. With --until, do so until a line of /bin/sh succeeds, which is run with the lock held, and\n" +
			"before the first wait: exit codes from 126 on end the wait.\n\n" +
			"When the time is over the exit code is 124, and the lock is held again all the same. Interrupted, it is not.\n" +
			"A wait gives the lock a new token, so $" + client.EnvFence + " of the one who has called is stale then: --token prints the new one.",
		Example: "  " + a.Name + " cond wait filled --lock stock --until 'test -s box' --timeout 1m\n" +
			"  " + client.EnvFence + "=$(" + a.Name + " cond wait filled --lock stock --token)",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(checkObject(args[0]), checkName("--lock", f.lock), f.timeout.check()); err != nil {
				return err
			}
			if cmd.Flags().Changed("until") && f.until == "" {
				return Usage("--until: which command?")
			}
			return a.withHolder(cmd, "cond wait", func(ctx context.Context, c *client.Client) error {
				return a.condWait(ctx, f.condition(c, args[0]), c, &f)
			})
		},
	}
	f.add(cmd)
	f.timeout.add(cmd)
	cmd.Flags().StringVar(&f.until, "until", "", "wait until this `line` of /bin/sh succeeds")
	cmd.Flags().BoolVar(&f.token, "token", false, "print the lock's new token")
	return cmd
}

// withHolder connects and acts as the holder of who has started this program, or as a new one.
func (a *App) withHolder(cmd *cobra.Command, name string, fn func(context.Context, *client.Client) error) error {
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		ctx, err := a.holder(ctx, name)
		if err != nil {
			return err
		}
		return lostEnd(fn(ctx, c))
	})
}

// condWait waits. The lock is acquired once more by whoever has it: so it does not matter whether the holder has it, nor which
// token it has by now.
func (a *App) condWait(ctx context.Context, k *client.Condition, c *client.Client, f *condFlags) error {
	end := time.Now().Add(f.timeout.d)
	held, ok, err := f.acquire(ctx, k.Lock())
	if err != nil {
		return err
	}
	if !ok {
		return timeoutEnd("lock %s is not free after %v", k.Lock().Name(), f.timeout.d)
	}
	holds, err := f.wait(held, k, time.Until(end), func(ctx context.Context) (bool, error) {
		return a.predicate(ctx, c, k.Lock(), f.until)
	})
	if err != nil {
		return err
	}
	if f.token {
		token, err := k.Lock().Token(held)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.Out, token)
	}
	if err := k.Lock().Release(held); err != nil {
		return err
	}
	switch {
	case holds:
		return nil
	case f.until != "":
		return timeoutEnd("%s does not hold after %v", quoteArg(f.until), f.timeout.d)
	}
	return timeoutEnd("nobody notified condition %s within %v", k.Name(), f.timeout.d)
}

// acquire acquires the lock, within the time.
func (f *condFlags) acquire(ctx context.Context, lock *client.Lock) (held context.Context, ok bool, err error) {
	if f.timeout.set() {
		return lock.AcquireWithin(ctx, f.timeout.d)
	}
	held, err = lock.Acquire(ctx)
	return held, err == nil, err
}

// wait waits for a notification, or for the predicate; false is that the time was over.
func (f *condFlags) wait(
	held context.Context, k *client.Condition, left time.Duration, predicate func(context.Context) (bool, error),
) (bool, error) {
	left = max(left, 0)
	switch timed := f.timeout.set(); {
	case f.until != "" && timed:
		return k.WaitForWithin(held, left, predicate)
	case f.until != "":
		return true, k.WaitFor(held, predicate)
	case timed:
		return k.WaitWithin(held, left)
	}
	return true, k.Wait(held)
}

// predicate asks a line of the shell.
func (a *App) predicate(held context.Context, c *client.Client, lock *client.Lock, line string) (bool, error) {
	env, err := lock.Environ(held)
	if err != nil {
		return false, err
	}
	code, err := a.shellLine(held, line, append(env, a.brokerEnv(c)...))
	if err != nil {
		return false, err
	}
	if code >= ExitRefused {
		return false, &ExitError{Code: code, Err: fmt.Errorf("--until %s: exit code %d", quoteArg(line), code)}
	}
	return code == 0, nil
}

// shellLine runs a line of the shell to its end.
func (a *App) shellLine(ctx context.Context, line string, env []string) (code int, err error) {
	p, err := a.startCommand([]string{"/bin/sh", "-c", line}, env)
	if err != nil {
		return 0, err
	}
	select {
	case <-p.Done():
		return p.ExitCode()
	case <-ctx.Done():
		p.Stop(ttlDefault / graceShare)
		return 0, context.Cause(ctx)
	}
}

func (a *App) condNotifyCommand() *cobra.Command {
	var f condFlags
	cmd := &cobra.Command{
		Use:     "notify NAME",
		Short:   "Wake those who wait, the ones that wait longest first",
		Long:    "Wake those who wait, the ones that wait longest first. They go on one after the other, as each gets the lock.",
		Example: "  " + a.Name + " cond notify filled --lock stock\n  " + a.Name + " cond notify filled --lock stock --all",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			const most = 1_000_000
			switch {
			case f.all && cmd.Flags().Changed("count"):
				return Usage("--all and --count: one of them at most")
			case f.count < 1 || f.count > most:
				return Usage("--count %d: 1 to %d are possible", f.count, most)
			}
			if err := cmp.Or(checkObject(args[0]), checkName("--lock", f.lock)); err != nil {
				return err
			}
			return a.withHolder(cmd, "cond notify", func(ctx context.Context, c *client.Client) error {
				k := f.condition(c, args[0])
				return k.Lock().Do(ctx, func(held context.Context) error {
					if f.all {
						return k.NotifyAll(held)
					}
					return k.Notify(held, f.count)
				})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().IntVarP(&f.count, "count", "c", 1, "wake `N`, fewer if fewer wait")
	bounded(cmd.Flags(), "count", "1 to 1000000")
	cmd.Flags().BoolVar(&f.all, "all", false, "wake all")
	return cmd
}

// timeoutFlag is --timeout of what waits: without it there is no limit.
type timeoutFlag struct {
	d   time.Duration
	set func() bool
}

func (f *timeoutFlag) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.d, "timeout", 0, "wait so long at most (exit code 124), at most 24h")
	f.set = func() bool { return cmd.Flags().Changed("timeout") }
}

func (f *timeoutFlag) check() error { return checkWait("--timeout", f.d) }
