package servercmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// summary is what the demo learns.
type summary struct {
	took       time.Duration
	tasks      int
	failed     int
	firstError string
	perWorker  map[string]int
	read       int64
	compressed int64
	hashes     map[string]int
	slowest    time.Duration
	slowestCmd []string
}

func newSummary() *summary {
	return &summary{perWorker: make(map[string]int), hashes: make(map[string]int)}
}

// run maps both commands over the files.
func (s *summary) run(ctx context.Context, app *cli.App, c *client.Client, t *tools, paths []string) error {
	progress := cli.NewProgress(app.Err, "tasks")
	progress.SetTotal(2 * len(paths))
	start := time.Now()
	for r := range client.MapSpecs(ctx, c, t.commands(paths), client.Unordered()) {
		if r.Outcome == nil {
			progress.Hide()
			return r.Err
		}
		s.add(&r, r.Index%2 == 0)
		progress.Add(r.Err != nil)
	}
	progress.Hide()
	s.took = time.Since(start)
	return nil
}

// add counts one task.
func (s *summary) add(r *client.SpecResult, isHash bool) {
	s.tasks++
	o := r.Outcome
	s.perWorker[o.Worker]++
	argv := r.Spec.Command.GetArgv()
	if d := o.FinishedAt.Sub(o.StartedAt); d > s.slowest {
		s.slowest, s.slowestCmd = d, argv
	}
	if r.Err != nil {
		s.failed++
		if s.firstError == "" {
			s.firstError = fmt.Sprintf("%s: %v", strings.Join(argv, " "), r.Err)
		}
		return
	}
	if isHash {
		hash, _, _ := strings.Cut(text(o.Command.GetStdout()), " ")
		s.hashes[hash]++
		if info, err := os.Stat(argv[len(argv)-1]); err == nil {
			s.read += info.Size()
		}
		return
	}
	s.compressed += o.Command.GetStdout().GetBytesTotal()
}

// text is captured output as text.
func text(o *weftv1.CapturedOutput) string { return o.GetText() + string(o.GetData()) }

// print prints it for people.
func (s *summary) print(app *cli.App, files int) {
	p := func(format string, args ...any) { fmt.Fprintf(app.Out, format+"\n", args...) }
	p("%d tasks in %.1f s, %.0f a second, %d failed; each was on disk before it was acknowledged.",
		s.tasks, s.took.Seconds(), float64(s.tasks)/s.took.Seconds(), s.failed)
	for _, name := range demoWorkers {
		n := s.perWorker[name]
		p("  %-8s %6d tasks  %3.0f %%", name, n, 100*float64(n)/float64(max(s.tasks, 1)))
	}
	same := 0
	for _, n := range s.hashes {
		if n > 1 {
			same += n
		}
	}
	p("  %s read, %s compressed (%.0f %%); %d of %d files have the same content as another one.",
		size(s.read), size(s.compressed), 100*float64(s.compressed)/float64(max(s.read, 1)), same, files)
	if n := len(s.slowestCmd); n > 0 {
		p("  slowest: %s %s, %v", s.slowestCmd[0], filepath.Base(s.slowestCmd[n-1]), s.slowest.Round(time.Millisecond))
	}
	if s.firstError != "" {
		p("  first failure: %s", s.firstError)
	}
	p("\nNothing is left running. To keep one and look inside:\n\n  %s dev\n"+
		"  grpcurl -plaintext 127.0.0.1:9338 weft.v1.QueueService/ListQueues", app.Name)
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
