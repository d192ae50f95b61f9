package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Bounds of a session that holds something.
const (
	ttlMin     = time.Second
	ttlMax     = time.Hour
	ttlDefault = 10 * time.Second
)

// graceShare of the TTL is the default grace: a client gives its session up when a quarter is left, and what runs under the
// lock is to be gone before others get it.
const graceShare = 5

// holdingFlags are those of the commands that run another one while they hold something.
type holdingFlags struct {
	wait  waitFlag
	try   bool
	ttl   time.Duration
	grace time.Duration
	given func(flag string) bool
}

func (f *holdingFlags) add(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.DurationVar(&f.ttl, "ttl", ttlDefault, "others get "+what+" so long after this machine was last heard of, 1s to 1h")
	flags.DurationVar(&f.grace, "grace", 0, "when "+what+" is lost: between asking the command to stop and killing it (default a fifth of --ttl)")
	f.given = flags.Changed
}

// addWaits adds --wait and --try.
func (f *holdingFlags) addWaits(cmd *cobra.Command) {
	f.wait.add(cmd, "wait so long at most (exit code 124), at most 24h")
	cmd.Flags().BoolVar(&f.try, "try", false, "do not wait (exit code 124)")
}

// check refuses what cannot be.
func (f *holdingFlags) check() error {
	switch {
	case f.given("ttl") && (f.ttl < ttlMin || f.ttl > ttlMax):
		return Usage("--ttl %v: %v to %v are possible", f.ttl, ttlMin, ttlMax)
	case f.grace < 0 || f.grace > graceMax:
		return Usage("--grace %v: 0s to %v are possible", f.grace, graceMax)
	case !f.given("grace"):
		f.grace = f.ttl / graceShare
	}
	return f.checkWaits()
}

// checkWaits checks --wait and --try, if they are there.
func (f *holdingFlags) checkWaits() error {
	if f.try && f.wait.set() {
		return Usage("--try and --wait: one of them at most")
	}
	return checkWait("--wait", f.wait.d)
}

// syncWaitMax is the longest wait of the lock service that has an end.
const syncWaitMax = 24 * time.Hour

// checkWait refuses a wait that the broker would refuse.
func checkWait(flag string, d time.Duration) error {
	if d < 0 || d > syncWaitMax {
		return Usage("%s %v: 0s to %v are possible", flag, d, syncWaitMax)
	}
	return nil
}

// splitCommand splits NAME -- COMMAND ARG….
func splitCommand(cmd *cobra.Command, args []string) (name string, argv []string, err error) {
	at := cmd.ArgsLenAtDash()
	switch {
	case at < 0 && len(args) > 1:
		return "", nil, Usage("%s: which command? It comes behind --: %s %s -- %s", cmd.Name(), cmd.CommandPath(), quoteArg(args[0]), quoteArgs(args[1:]))
	case len(args) == 0 || at == 0:
		return "", nil, Usage("%s: which name? %s NAME -- COMMAND", cmd.Name(), cmd.CommandPath())
	case at > 1:
		return "", nil, Usage("%s: %s: one name before --", cmd.Name(), quoteArgs(args[:at]))
	case len(args) == 1:
		return "", nil, Usage("%s: which command? %s %s -- COMMAND", cmd.Name(), cmd.CommandPath(), quoteArg(args[0]))
	}
	return args[0], args[1:], checkObject(args[0])
}

// checkObject refuses what is no name.
func checkObject(name string) error {
	if !plainName(name) {
		return Usage("%s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(name))
	}
	return nil
}

// nameCommand splits the arguments of such a command, for cobra.
func nameCommand(cmd *cobra.Command, args []string) error {
	_, _, err := splitCommand(cmd, args)
	return err
}

// holding is a command that runs while this program holds something for it.
type holding struct {
	app    *App
	client *client.Client
	flags  *holdingFlags
	argv   []string

	what    string // "lock stock"
	acquire func(context.Context) (held context.Context, ok bool, err error)
	release func(held context.Context) error
	stays   bool // it does not end with the session
	environ func(held context.Context) ([]string, error)
	look    look // why it waits
}

// hold runs a command while something is held, which prepare says.
func (a *App) hold(ctx context.Context, f *holdingFlags, argv []string, prepare func(*client.Client) *holding) error {
	ctx, silence, cancel := a.untilSignal(ctx)
	defer cancel()
	ctx, err := a.holder(ctx, filepath.Base(argv[0]))
	if err != nil {
		return err
	}
	c, err := a.dialSession(ctx, f.ttl)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what its own session holds is free then
	h := prepare(c)
	h.app, h.client, h.flags, h.argv = a, c, f, argv
	stop := a.noteWaiting(ctx, h.look, a.Say)
	held, ok, err := h.acquire(ctx)
	stop()
	silence()
	switch {
	case err != nil:
		return lostEnd(err)
	case !ok:
		return h.notFree()
	}
	end := h.run(held)
	if h.stays || inherited() { // else it is free with the session
		if err := h.release(held); ExitCode(end) != ExitLost && err != nil {
			a.Say("%s is not released: %s", h.what, a.words(err))
		}
	}
	return end
}

// limit is how long to wait, and whether there is a limit.
func (f *holdingFlags) limit() (d time.Duration, limited bool) {
	return f.wait.d, f.try || f.wait.set != nil && f.wait.set()
}

// notFree is the end of a wait.
func (h *holding) notFree() error {
	if d, _ := h.flags.limit(); d > 0 {
		return timeoutEnd("%s is not free after %v", h.what, d)
	}
	return timeoutEnd("%s is not free", h.what)
}

// timeoutEnd is the end of what was not in time.
func timeoutEnd(format string, args ...any) error {
	return &ExitError{Code: ExitTimeout, Err: fmt.Errorf(format, args...)}
}

// lostEnd gives what is lost its exit code.
func lostEnd(err error) error {
	if errors.Is(err, client.ErrLeaseLost) || client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND) {
		return &ExitError{Code: ExitLost, Err: err}
	}
	return err
}

// untilSignal is a context that ends at the first signal, until silence is called: from then on signals are the caller's.
func (a *App) untilSignal(parent context.Context) (ctx context.Context, silence, cancel func()) {
	ctx, end := context.WithCancelCause(parent)
	silent, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case s := <-a.Signal:
			end(left(s))
		case <-silent:
		case <-ctx.Done():
		}
	}()
	silence = sync.OnceFunc(func() { close(silent); <-gone })
	return ctx, silence, func() { silence(); end(nil) }
}
