package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
)

// Limits of -j; the upper one is what the broker lets a call have under way.
const (
	inFlightDefault = 1000
	inFlightMax     = 100_000
)

// mapFlags are the flags of map beside those of every command.
type mapFlags struct {
	commandFlags
	local     bool
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
			"own; --stdin-file sends one along, and then the input is an argument only where {} says so.\n" +
			"An input that cannot be sent, such as one whose file is missing, counts as failed, and the others\n" +
			"go on; with --name it ends the map, to be mended and run again. The exit code is how many tasks\n" +
			"failed, at most 101.\n\n" +
			"Interrupt once to submit nothing more and ask what runs to stop, twice to kill it, three times to leave it;\n" +
			"with --name once to leave it: the tasks go on. When a task interrupts this program (" + a.Name + " interrupt),\n" +
			"what has not ended is cancelled likewise. Each time the exit code is 130.",
		Example: "  " + a.Name + " map -- gzip -k {} ::: *.log\n" +
			"  find . -type f -print0 | " + a.Name + " map -0 --stdin-file {} --tag -- sha256sum -",
		Args: commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.mapInputs(cmd.Context(), &flags, args) },
	}
	flags.add(cmd)
	flags.addWhen(cmd)
	a.localFlag(cmd, &flags.local)
	f := cmd.Flags()
	f.IntVarP(&flags.inFlight, "jobs", "j", inFlightDefault, "at most `N` tasks at a time")
	bounded(f, "jobs", "1 to 100000")
	f.BoolP("keep-order", "k", true, "output in the order of the inputs, which is the default")
	f.Lookup("keep-order").DefValue = "false" // not to be shown: it says so itself
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
	if n := flags.inFlight; n < 1 || n > inFlightMax {
		return Usage("map: -j %d: 1 to %d are possible", n, inFlightMax)
	}
	if err := checkArgs(argv); err != nil {
		return err
	}
	spec, err := flags.spec()
	if err != nil {
		return err
	}
	spec.Daemon = flags.name == "" // a named map is there to be met again
	connecting, connected := a.Interruptible(parent)
	c, end, err := a.DialLocal(connecting, flags.local)
	connected()
	if err != nil {
		return err
	}
	defer end()
	m := &mapping{
		app: a, flags: flags, client: c, spec: spec, argv: argv,
		progress: NewProgress(a.Err, "tasks"),
		spool:    spool{client: c},
		inputs:   make(map[uint64]input),
	}
	defer m.close()
	source := readInputs(a.In, flags.nul, m.fail)
	if given {
		source = slices.Values(inputs)
		m.progress.SetTotal(len(inputs))
	}
	return m.run(parent, source)
}
