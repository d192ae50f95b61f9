package servercmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/procs"
)

// benchSample is what a benchmark looks like at one moment: a long run shows what grows.
type benchSample struct {
	Seconds      float64 `json:"seconds"`
	JournalBytes uint64  `json:"journal_bytes"`
	BrokerBytes  uint64  `json:"broker_rss_bytes"`
	WorkerBytes  uint64  `json:"worker_rss_bytes"`
	ClientBytes  uint64  `json:"client_rss_bytes"`
}

// sample takes a sample now and then until ctx ends, and says each one.
func sample(ctx context.Context, app *cli.App, fl *fleet, every time.Duration) (samples []benchSample) {
	if every <= 0 || fl.broker == nil {
		return nil
	}
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return samples
		}
		s := benchSample{
			Seconds: time.Since(start).Seconds(), JournalBytes: treeBytes(fl.data),
			BrokerBytes: procs.ResidentBytes(fl.broker.Pid()), ClientBytes: procs.ResidentBytes(os.Getpid()),
		}
		for _, w := range fl.workers {
			s.WorkerBytes += procs.ResidentBytes(w.Pid())
		}
		samples = append(samples, s)
		const mib = 1 << 20
		app.Say("after %.0f s: journal %d MiB; resident: broker %d MiB, worker %d MiB, client %d MiB",
			s.Seconds, s.JournalBytes/mib, s.BrokerBytes/mib, s.WorkerBytes/mib, s.ClientBytes/mib)
	}
}

// treeBytes is the size of all files in a directory. Files that come and go meanwhile do not matter.
func treeBytes(dir string) (n uint64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // gone since it was listed
		}
		if info, err := d.Info(); err == nil {
			n += uint64(info.Size()) //nolint:gosec // a file's size is not negative
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return n
}
