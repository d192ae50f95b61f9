package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// run runs the command until it ends, or what is held is lost.
func (h *holding) run(held context.Context) error {
	env, err := h.environ(held)
	if err != nil {
		return lostEnd(err)
	}
	signals := make(chan os.Signal, 16)
	for _, s := range procs.PassedOn {
		if !signal.Ignored(s) { // as nohup has it
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	f, err := h.app.startCommand(h.argv, append(env, h.app.brokerEnv(h.client)...))
	if err != nil {
		return err
	}
	for {
		select {
		case <-f.Done():
			if held.Err() != nil { // it asks the clock: this process may have stood still
				return h.lost(held, f)
			}
			return commandEnd(f)
		case <-held.Done():
			return h.lost(held, f)
		case s := <-h.app.Signal:
			f.Pass(s)
		case s := <-signals:
			f.Pass(s)
		}
	}
}

// lost stops the command's whole group.
func (h *holding) lost(held context.Context, f *procs.Foreground) error {
	f.Stop(h.flags.grace)
	cause := context.Cause(held)
	lost, ok := errors.AsType[*client.LeaseLostError](cause)
	if !ok {
		return cause // whoever has started this program is gone
	}
	return &ExitError{Code: ExitLost, Err: fmt.Errorf("%s is lost, and the command was stopped: %s", h.what, h.app.words(lost.Cause))}
}

// commandEnd is the end of a command that has ended.
func commandEnd(f *procs.Foreground) error {
	code, err := f.ExitCode()
	if err != nil {
		return err
	}
	return exit(code)
}

// startCommand starts a command in this program's place.
func (a *App) startCommand(argv, env []string) (*procs.Foreground, error) {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // it is what the person wants to run
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	f, err := procs.StartForeground(cmd)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, &ExitError{Code: ExitNotFound, Err: fmt.Errorf("there is no program %s", shorten(argv[0]))}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC), errors.Is(err, exec.ErrDot):
		return nil, &ExitError{Code: ExitRefused, Err: fmt.Errorf("%s cannot be run: %w", shorten(argv[0]), err)}
	default:
		return nil, fmt.Errorf("start %s: %w", shorten(argv[0]), err)
	}
}

// brokerEnv tells a command where the broker is.
func (a *App) brokerEnv(c *client.Client) []string {
	return []string{client.EnvBroker + "=" + c.Addr(), client.EnvNamespace + "=" + c.Namespace()}
}
