package servercmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// newDemo is `demo`.
func newDemo(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "A broker, two workers and real work on the files of DIR, with nothing left behind",
		Long: "Starts a broker and two workers as processes of their own on free loopback ports, has them hash and\n" +
			"compress the files of DIR (default the current directory), and says how that went. The files are\n" +
			"only read. Nothing is left running, and nothing is left behind.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			ctx, cancel := app.Interruptible(cmd.Context())
			defer cancel()
			return demo(ctx, app, dir)
		},
	}
}

// demoWorkers are the workers' names.
var demoWorkers = []string{"north", "south"}

// demo runs the whole show.
func demo(ctx context.Context, app *cli.App, dir string) error {
	files, err := findFiles(dir)
	if err != nil {
		return err
	}
	tools, err := findTools()
	if err != nil {
		return err
	}
	fmt.Fprintf(app.Out, "Starting a broker and %d workers, each a process of its own …\n", len(demoWorkers))
	f, err := startBroker(ctx, app.Err, "", "always")
	if err != nil {
		return err
	}
	defer f.stop()
	for _, name := range demoWorkers {
		if err := f.startWorker(ctx, "worker", "--json", "--name", name, "--allow", tools.allow(), "--drain-timeout", "-1s"); err != nil {
			return err
		}
	}
	c, err := f.dial(app)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := f.connected(ctx, c, len(demoWorkers)); err != nil {
		return err
	}
	fmt.Fprintf(app.Out, "%s and %s over %d files of %s: %d tasks.%s\n\n",
		tools.hash[0], tools.compress[0], len(files.paths), files.dir, 2*len(files.paths), files.left())
	s := newSummary()
	if err := s.run(ctx, app, c, tools, files.paths); err != nil {
		return err
	}
	s.print(app, len(files.paths))
	return nil
}

// tools are the programs that the demo runs, each without its last argument, the file.
type tools struct {
	hash, compress []string
}

// findTools chooses among the programs that this machine has.
func findTools() (*tools, error) {
	first := func(what string, candidates ...[]string) ([]string, error) {
		for _, argv := range candidates {
			if _, err := exec.LookPath(argv[0]); err == nil {
				return argv, nil
			}
		}
		return nil, fmt.Errorf("demo: this machine has no program that can %s", what)
	}
	hash, err := first("hash a file", []string{"sha256sum"}, []string{"shasum", "-a", "256"}, []string{"cksum"})
	if err != nil {
		return nil, err
	}
	compress, err := first("compress a file", []string{"gzip", "-c"}, []string{"zstd", "-c"}, []string{"xz", "-c"}, []string{"cat"})
	if err != nil {
		return nil, err
	}
	return &tools{hash, compress}, nil
}

// allow is what the workers allow: these two programs and nothing else.
func (t *tools) allow() string { return t.hash[0] + "," + t.compress[0] }

// commands gives both tasks of each file. Of the compressed file a byte travels, and its size.
func (t *tools) commands(paths []string) func(yield func(client.Spec) bool) {
	task := func(argv []string, path string, outputMax uint32) client.Spec {
		return client.Spec{
			Kind: "command", Daemon: true, Timeout: time.Minute,
			Command: &weftv1.Command{
				Argv: append(append([]string(nil), argv...), path), OutputBytesMax: outputMax,
			},
		}
	}
	return func(yield func(client.Spec) bool) {
		for _, path := range paths {
			if !yield(task(t.hash, path, 1024)) || !yield(task(t.compress, path, 1)) {
				return
			}
		}
	}
}

// Limits of the demo.
const (
	demoFilesMax = 2000
	demoBytesMax = 16 << 20 // of one file
)

// files is what the demo works on.
type files struct {
	dir     string
	paths   []string // absolute: the workers open them
	skipped int      // larger than demoBytesMax
	more    bool     // there are more than demoFilesMax
}

// left says what was left out.
func (f *files) left() string {
	text := ""
	if f.more {
		text += fmt.Sprintf(" (the first %d files only)", demoFilesMax)
	}
	if f.skipped > 0 {
		text += fmt.Sprintf(" (without %d files above %d MiB)", f.skipped, demoBytesMax>>20)
	}
	return text
}

// findFiles lists the regular files below a directory, without what git keeps.
func findFiles(dir string) (*files, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	f := &files{dir: abs}
	err = filepath.WalkDir(abs, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			if path == abs {
				return err
			}
			return nil // not ours to read
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		case len(f.paths) == demoFilesMax:
			f.more = true
			return filepath.SkipAll
		}
		info, err := d.Info()
		if err != nil || info.Size() > demoBytesMax {
			f.skipped++
			return nil //nolint:nilerr // a file that vanished is none of ours
		}
		f.paths = append(f.paths, path)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if len(f.paths) == 0 {
		return nil, fmt.Errorf("demo: there is no file in %s", abs)
	}
	return f, nil
}
