package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// mapFlags are the flags of map beside those of every command.
type mapFlags struct {
	commandFlags
	inFlight  int
	unordered bool
	tag       bool
	nul       bool
	failFast  bool
	stdinFile string
	name      string
}

// mapCommand is `map`.
func (a *App) mapCommand() *cobra.Command {
	var flags mapFlags
	cmd := &cobra.Command{
		Use:   "map [flags] -- COMMAND ARG... [::: INPUT...]",
		Short: "Run a command for each input, on all workers",
		Long: "Run a command for each input, on all workers: the arguments behind :::, or else the lines of\n" +
			"standard input. {} in an argument stands for the input, which else becomes the last argument.\n" +
			"In a line for --shell it is quoted.\n" +
			"Output comes task by task in the order of the inputs. Files do not travel: a worker opens its\n" +
			"own; --stdin-file sends one along, and then the input is an argument only where {} says so. The exit\n" +
			"code is how many tasks failed, at most 101.",
		Example: "  " + a.Name + " map -- gzip -k {} ::: *.log\n" +
			"  find . -type f -print0 | " + a.Name + " map -0 --stdin-file {} --tag -- sha256sum -",
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.mapInputs(cmd.Context(), &flags, args) },
	}
	flags.add(a, cmd)
	f := cmd.Flags()
	f.IntVarP(&flags.inFlight, "jobs", "j", 0, "at most `N` tasks at a time (default 1000)")
	f.BoolP("keep-order", "k", true, "output in the order of the inputs (this is the default)")
	f.BoolVar(&flags.unordered, "unordered", false, "output as tasks end")
	f.BoolVar(&flags.tag, "tag", false, "begin every line of output with its input and a tab")
	f.BoolVarP(&flags.nul, "null", "0", false, "inputs of standard input end with a NUL byte")
	f.BoolVar(&flags.failFast, "fail-fast", false, "cancel the rest when a task has failed")
	f.StringVar(&flags.stdinFile, "stdin-file", "", "send this `file` of here as standard input; {} is the input")
	f.StringVar(&flags.name, "name", "", "a `name` to meet the tasks by when the same is run again; they outlive this command")
	return cmd
}

// mapInputs is the command.
func (a *App) mapInputs(parent context.Context, flags *mapFlags, args []string) error {
	argv, inputs, given, err := splitInputs(args)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		return Usage("map: which command?")
	}
	spec, err := flags.spec()
	if err != nil {
		return err
	}
	spec.Daemon = flags.name == "" // a named map is there to be met again
	ctx, cancel := a.Interruptible(parent)
	defer cancel()
	c, end, err := a.DialLocal(ctx, flags.local)
	if err != nil {
		return err
	}
	defer end()
	m := &mapping{
		app: a, flags: flags, client: c, spec: spec, argv: argv,
		progress: NewProgress(a.Err, "tasks"),
		spool:    spool{client: c},
		inputs:   make(map[uint64]string),
	}
	defer m.spool.close()
	source := readInputs(a.In, flags.nul, m.fail)
	if given {
		source = slices.Values(inputs)
		m.progress.SetTotal(len(inputs))
	}
	return m.run(ctx, source)
}

// mapping is one `map`.
type mapping struct {
	app      *App
	flags    *mapFlags
	client   *client.Client
	spec     client.Spec
	argv     []string
	progress *Progress
	spool    spool
	failed   int

	mu       sync.Mutex // the inputs are read by a goroutine of their own
	inputs   map[uint64]string
	read     uint64
	inputErr error
}

// remember keeps the next task's input until its result.
func (m *mapping) remember(input string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputs[m.read] = input
	m.read++
}

// input is a task's input.
func (m *mapping) input(index uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputs[index]
}

// forget gives up the input of a task whose result was given out.
func (m *mapping) forget(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inputs, index)
}

// fail notes that the inputs could not be read to their end.
func (m *mapping) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputErr = err
}

// failure is what fail noted.
func (m *mapping) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputErr
}

// options are those of the SDK's map.
func (m *mapping) options() []client.MapOption {
	var opts []client.MapOption
	if m.flags.inFlight > 0 {
		opts = append(opts, client.InFlight(m.flags.inFlight))
	}
	if m.flags.unordered {
		opts = append(opts, client.Unordered())
	}
	if m.flags.name != "" {
		opts = append(opts, client.Name(m.flags.name))
	}
	return opts
}

// specs turns inputs into tasks. An input whose file cannot be read ends the sequence.
func (m *mapping) specs(inputs iter.Seq[string]) iter.Seq[client.Spec] {
	return func(yield func(client.Spec) bool) {
		for input := range inputs {
			spec := m.spec
			var stdin []byte
			if m.flags.stdinFile != "" {
				var err error
				if stdin, err = readFile(strings.ReplaceAll(m.flags.stdinFile, placeholder, input)); err != nil {
					m.fail(err)
					return
				}
			}
			spec.Command = withArgs(m.spec.Command, m.arguments(input), stdin)
			spec.Labels = withInput(m.spec.Labels, input)
			m.remember(input)
			if !yield(spec) {
				return
			}
		}
	}
}

// arguments puts an input into the command's arguments. In a line for the shell it is quoted: a file's name
// must not become a command.
func (m *mapping) arguments(input string) []string {
	argv := substitute(m.argv, input, m.flags.stdinFile == "")
	if m.spec.Command.GetShell() && len(m.argv) > 0 {
		argv[0] = strings.ReplaceAll(m.argv[0], placeholder, quoteArg(input))
	}
	return argv
}

// inputLabel keeps the input with its task, for people who look.
const inputLabel = "input"

// withInput adds the input's label, shortened to what a label can hold.
func withInput(labels map[string]string, input string) map[string]string {
	const bytesMax = 256
	out := map[string]string{inputLabel: strings.ToValidUTF8(input[:min(len(input), bytesMax)], "")}
	maps.Copy(out, labels)
	return out
}

// readFile reads a file that goes along as standard input.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := readStdin(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// run gives out the results.
func (m *mapping) run(ctx context.Context, inputs iter.Seq[string]) error {
	for r := range client.Map(ctx, m.client, m.specs(inputs), m.options()...) {
		if r.Outcome == nil && !isRefusal(r.Err) {
			m.progress.Hide()
			return m.broken(r.Err)
		}
		failed := r.Err != nil
		if err := m.result(ctx, &r); err != nil {
			m.progress.Hide()
			if ctx.Err() != nil {
				return m.broken(err)
			}
			m.app.Say("%s: %v", m.name(&r), err)
			failed = true
		}
		if failed {
			m.failed++
		}
		m.forget(r.Index)
		m.progress.Add(failed)
		if failed && m.flags.failFast {
			m.progress.Hide()
			m.app.Say("cancelled the rest (--fail-fast)")
			return exit(min(m.failed, ExitMapMax))
		}
	}
	m.progress.Hide()
	if err := m.failure(); err != nil {
		return err
	}
	return exit(min(m.failed, ExitMapMax))
}

// isRefusal reports whether an error is one task's alone.
func isRefusal(err error) bool {
	_, isTask := errors.AsType[*task.Error](err)
	_, isRefused := errors.AsType[*client.Error](err)
	return isTask || isRefused
}

// broken is the end of a map that did not run through.
func (m *mapping) broken(err error) error {
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		if m.flags.name != "" {
			m.app.Say("interrupted; the tasks go on: run the same again to meet them, or: %s cancel %s",
				m.app.Name, m.flags.name)
		} else {
			m.app.Say("interrupted: asked all tasks to stop")
		}
		return exit(ExitInterrupted)
	}
	return err
}

// name is a task for people.
func (m *mapping) name(r *client.Result) string {
	return fmt.Sprintf("task %d (%s)", r.Index, m.input(r.Index))
}

// result writes one task's output whole, and says why it failed unless the command itself did.
func (m *mapping) result(ctx context.Context, r *client.Result) error {
	if r.Outcome == nil {
		return r.Err
	}
	stdout, stderr, err := m.spool.fetch(ctx, r)
	if err != nil {
		return fmt.Errorf("its output is not here: %w", err)
	}
	m.progress.Hide()
	if err := m.write(m.app.Out, stdout, r); err != nil {
		return err
	}
	if err := m.write(m.app.Err, stderr, r); err != nil {
		return err
	}
	if r.Err != nil && !saysItself(r.Outcome) {
		m.app.Say("%s: %v", m.name(r), r.Err)
	}
	return nil
}

// write copies one stream, with --tag line by line.
func (m *mapping) write(to io.Writer, from io.Reader, r *client.Result) error {
	if m.flags.tag {
		to = &tagger{to: to, tag: m.input(r.Index) + "\t"}
	}
	if _, err := io.Copy(to, from); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
