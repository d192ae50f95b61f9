package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/weftq/weft/pkg/client"
)

// spool gets the whole output of tasks, long ones through files. Its files are reused and have no
// names: nothing stays behind, however the process ends.
type spool struct {
	client         *client.Client
	stdout, stderr *os.File
}

// fetch returns a task's whole output, or an error: never a part as if it were all. The readers are good
// until the next fetch. The outcome must not be acknowledged before.
func (s *spool) fetch(ctx context.Context, r *client.SpecResult) (stdout, stderr io.Reader, err error) {
	result := r.Outcome.Command
	if !result.GetStdout().GetTruncated() && !result.GetStderr().GetTruncated() {
		return bytes.NewReader(capturedBytes(result.GetStdout())), bytes.NewReader(capturedBytes(result.GetStderr())), nil
	}
	if err := s.open(); err != nil {
		return nil, nil, err
	}
	out := newOutput(s.stdout, s.stderr)
	if err := out.finish(ctx, s.client, r.TaskID, r.Outcome); err != nil {
		return nil, nil, err
	}
	for _, f := range []*os.File{s.stdout, s.stderr} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, nil, fmt.Errorf("spool: %w", err)
		}
	}
	return s.stdout, s.stderr, nil
}

// open makes both files empty.
func (s *spool) open() error {
	for _, f := range []**os.File{&s.stdout, &s.stderr} {
		if *f == nil {
			created, err := os.CreateTemp("", "weft-output-*")
			if err != nil {
				return fmt.Errorf("spool: %w", err)
			}
			*f = created
			if err := os.Remove(created.Name()); err != nil {
				return fmt.Errorf("spool: %w", err)
			}
		}
		if err := (*f).Truncate(0); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if _, err := (*f).Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

// close gives the files up.
func (s *spool) close() {
	for _, f := range []*os.File{s.stdout, s.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}
