package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// App is what the commands share. Tests fill it with buffers.
type App struct {
	Name   string // of the program
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Signal <-chan os.Signal // interrupts, for the commands that have a ladder of their own

	// Local starts a broker and a worker in this process. Without it there is no --local.
	Local func(ctx context.Context) (*LocalBroker, error)

	broker    string
	namespace string
	verbose   bool
}

// LocalBroker is what --local talks to.
type LocalBroker struct {
	Addr string
	Stop func()
}

// NewApp is the process's own.
func NewApp(name string) *App {
	return &App{Name: name, In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

// Root is the program's root command with the client's commands.
func (a *App) Root(short string) *cobra.Command {
	root := &cobra.Command{Use: a.Name, Short: short, Args: cobra.NoArgs}
	a.MakeRoot(root)
	return root
}

// MakeRoot makes a command the root of a program of its own: broker and worker are one command each.
func (a *App) MakeRoot(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = version()
	flags := root.PersistentFlags()
	flags.StringVar(&a.broker, "broker", "", "the broker's `address` (default $"+client.EnvBroker+", else "+client.DefaultBroker+")")
	flags.StringVarP(&a.namespace, "namespace", "n", os.Getenv(client.EnvNamespace), "the `namespace` (default $"+client.EnvNamespace+", else \"default\")")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "tell about lost connections")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
}

// version is what the build knows of itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// AddClient adds the client's commands.
func (a *App) AddClient(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: "work", Title: "Work:"}, &cobra.Group{ID: "sync", Title: "Synchronize:"},
		&cobra.Group{ID: "look", Title: "Look and manage:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("work", a.runCommand(), a.mapCommand(), a.submitCommand(), a.waitCommand(), a.watchCommand(), a.cancelCommand(), a.retryCommand(),
		a.interruptCommand())
	add("sync", a.lockCommand(), a.locksCommand(), a.condCommand(), a.semCommand(), a.semsCommand(), a.eventCommand(), a.eventsCommand(),
		a.barrierCommand(), a.barriersCommand(), a.valueCommand(), a.valuesCommand(), a.electCommand(), a.leaderCommand())
	add("look", a.tasksCommand(), a.taskCommand(), a.whyCommand(), a.queuesCommand(), a.queueCommand(), a.workersCommand(),
		a.schedulesCommand(), a.scheduleCommand())
}

// Main runs the program and returns its exit code. A program that another one of Weft's has started ends
// with that one.
func (a *App) Main(root *cobra.Command, args []string) int {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	a.Signal = signals
	return a.Execute(procs.UntilParentDies(context.Background()), root, args)
}

// Execute runs the program with a context, and tells its error.
func (a *App) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	begun := false
	noteBegin(root, &begun)
	a.completions(root)
	err := root.ExecuteContext(ctx)
	var e *ExitError
	if err != nil && !begun && !errors.As(err, &e) { // cobra's own errors are all of the command line
		err = Usage("%w", err)
	}
	code := ExitCode(err)
	if err != nil && (!errors.As(err, &e) || e.Err != nil) {
		a.Say("%s", a.words(err))
	}
	return code
}

// noteBegin has it noted that a command begins: what failed before that is the command line.
func noteBegin(c *cobra.Command, begun *bool) {
	if !c.Runnable() { // a group: alone it shows its help, and a word that is none of its commands is a mistake
		c.Args = cobra.NoArgs
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*begun = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		noteBegin(sub, begun)
	}
}

// Interruptible returns a context that ends at the first signal, for commands without a ladder. After its
// cancel function has returned it takes no signal any more.
func (a *App) Interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-a.Signal:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-gone
	}
}

// Stoppable returns a context that ends at the first signal, and a channel that is closed at the second one
// or when the work is over: for servers, which stop in order, and sooner when asked again.
func (a *App) Stoppable(parent context.Context) (ctx context.Context, now <-chan struct{}, over context.CancelFunc) {
	ctx, cancel := a.Interruptible(parent)
	atOnce, stop := context.WithCancel(context.WithoutCancel(parent))
	go func() {
		<-ctx.Done()
		select {
		case <-a.Signal:
			stop()
		case <-atOnce.Done():
		}
	}()
	return ctx, atOnce.Done(), func() { cancel(); stop() }
}

// errInterrupted ends what a person interrupts.
var errInterrupted = &ExitError{Code: ExitInterrupted}

// Broker is the address that the person gave; empty is the default one.
func (a *App) Broker() string { return a.broker }

// Namespace is the namespace that the person gave.
func (a *App) Namespace() string { return a.namespace }

// Logger tells about connections with --verbose.
func (a *App) Logger() *slog.Logger {
	if !a.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.Err, nil))
}

// ServerLogger tells about connections in any case: a worker's are what it is for.
func (a *App) ServerLogger() *slog.Logger { return slog.New(slog.NewTextHandler(a.Err, nil)) }

// localFlag adds --local to a command, if there is such a thing.
func (a *App) localFlag(cmd *cobra.Command, local *bool) {
	if a.Local != nil {
		cmd.Flags().BoolVar(local, "local", false, "without a server: a broker and a worker in this process")
	}
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor is small
}
