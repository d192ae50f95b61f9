package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// commandFlags are the flags of everything that runs commands on workers.
type commandFlags struct {
	taskFlags
	retryFlags
	queue   string
	timeout time.Duration
	grace   time.Duration
	dir     string
	env     []string
	labels  []string
	shell   bool
}

// add defines the flags.
func (f *commandFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVarP(&f.queue, "queue", "q", "", "the `queue` (default \"default\")")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop an attempt that takes longer (exit code 124)")
	flags.DurationVar(&f.grace, "grace", 0, "between asking a command to stop and killing it (default 10s)")
	flags.StringVar(&f.dir, "dir", "", "working `directory` on the worker")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for the command's environment; NAME alone takes the value from here")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "`NAME=VALUE` for people and filters")
	flags.BoolVar(&f.shell, "shell", false, "run the first argument as a line of /bin/sh; the worker must allow it")
	f.retryFlags.add(cmd, retriesUsage)
	f.taskFlags.add(cmd)
}

// retriesUsage is what --retries does to a task.
const retriesUsage = "try again so often after a failure"

// spec is the task without its arguments and input.
func (f *commandFlags) spec() (client.Spec, error) { return f.specFrom(client.Retry{}) }

// specFrom is that with a policy of tries in place of none, where the flags say nothing else.
func (f *commandFlags) specFrom(retry client.Retry) (client.Spec, error) {
	if err := cmp.Or(f.retryFlags.check(), f.times(), checkText("--dir", f.dir), checkName("--queue", f.queue)); err != nil {
		return client.Spec{}, err
	}
	env, err := f.environment()
	if err != nil {
		return client.Spec{}, err
	}
	labels, err := parsePairs("--label", f.labels)
	if err != nil {
		return client.Spec{}, err
	}
	spec := client.Spec{
		Queue: f.queue, Kind: "command", Timeout: f.timeout, Grace: f.grace, Labels: labels,
		Command: &weftv1.Command{Shell: f.shell, Dir: f.dir, Env: env}, Retry: retry,
	}
	if err := f.change(&spec.Retry); err != nil {
		return client.Spec{}, err
	}
	return spec, f.fill(&spec)
}

// times checks the durations.
func (f *commandFlags) times() error {
	if f.timeout < 0 || f.timeout > timeoutMax {
		return Usage("--timeout %v: 0s to %v are possible", f.timeout, timeoutMax)
	}
	if f.grace < 0 || f.grace > graceMax {
		return Usage("--grace %v: 0s to %v are possible", f.grace, graceMax)
	}
	return nil
}

// environment reads --env.
func (f *commandFlags) environment() (map[string]string, error) {
	pairs := make([]string, len(f.env))
	for i, e := range f.env {
		pairs[i] = e
		if !strings.Contains(e, "=") {
			pairs[i] = e + "=" + os.Getenv(e)
		}
	}
	return parsePairs("--env", pairs)
}

// parsePairs reads NAME=VALUE arguments; nil for none.
func parsePairs(flag string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, Usage("%s %q: not NAME=VALUE", flag, p)
		}
		if err := checkText(flag, p); err != nil {
			return nil, err
		}
		m[name] = value
	}
	return m, nil
}

// readStdin reads a command's standard input whole: it travels with the task.
func readStdin(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, task.PayloadBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(data) > task.PayloadBytesMax {
		return nil, fmt.Errorf("standard input %w", errTooLarge)
	}
	return data, nil
}

// errTooLarge is more than a task can carry.
var errTooLarge = fmt.Errorf("is larger than %d KiB, which is what a task can carry: "+
	"put it where the worker can read it", task.PayloadBytesMax>>10)

// checkSize refuses a command that a task cannot carry.
func checkSize(c *weftv1.Command) error {
	if proto.Size(c) > task.PayloadBytesMax {
		return fmt.Errorf("the command with its standard input %w", errTooLarge)
	}
	return nil
}

// checkArgs refuses arguments that a task cannot carry.
func checkArgs(argv []string) error {
	for i, arg := range argv {
		if err := checkText(fmt.Sprintf("argument %d", i), arg); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses what is not UTF-8.
func checkText(what, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return Usage("%s (%s) is not UTF-8, and a task carries nothing else", what, shorten(text))
}

// withArgs returns a copy of a command with other arguments.
func withArgs(c *weftv1.Command, argv []string, stdin []byte) *weftv1.Command {
	return &weftv1.Command{
		Argv: argv, Shell: c.GetShell(), Env: c.GetEnv(), Dir: c.GetDir(), Stdin: stdin,
		OutputBytesMax: c.GetOutputBytesMax(),
	}
}
