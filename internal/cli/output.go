package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// stream is where one of a command's output streams goes, and how far it got.
type stream struct {
	to     io.Writer
	offset int64
}

// output writes a command's output as it comes, and completes it from the outcome.
type output struct {
	stdout, stderr stream
	token          uint64
	restarted      func() // an attempt has followed one that had written something
}

func newOutput(stdout, stderr io.Writer) *output {
	return &output{stdout: stream{to: stdout}, stderr: stream{to: stderr}, restarted: func() {}}
}

// errOutputLost says that a part of the output cannot be had any more.
var errOutputLost = errors.New("a part of the output is lost: the worker no longer has it")

// chunk writes a piece of live output.
func (o *output) chunk(c *weftv1.OutputChunk) error {
	o.attempt(c.GetToken())
	s := &o.stdout
	if c.GetStream() == weftv1.OutputStream_OUTPUT_STREAM_STDERR {
		s = &o.stderr
	}
	return s.write(c.GetOffset(), c.GetData())
}

// attempt begins the output of another attempt.
func (o *output) attempt(token uint64) {
	if token == o.token {
		return
	}
	if o.stdout.offset+o.stderr.offset > 0 {
		o.restarted()
	}
	o.token, o.stdout.offset, o.stderr.offset = token, 0, 0
}

// write writes what is new of a piece that begins at offset.
func (s *stream) write(offset int64, data []byte) error {
	seen := s.offset - offset
	if seen < 0 || seen >= int64(len(data)) {
		return nil // a gap is filled by who asks for it
	}
	n, err := s.to.Write(data[seen:])
	s.offset += int64(n)
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// follow writes the output that a watch tells, until the task has ended; told hears of the rest.
func (o *output) follow(ctx context.Context, c *client.Client, taskID string, told func(client.Event) error) error {
	for e, err := range c.Watch(ctx, taskID, true) {
		switch {
		case err != nil:
			return err
		case e.Output != nil:
			if err := o.chunk(e.Output); err != nil {
				return err
			}
		case told != nil:
			if err := told(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// captured writes what the outcome has and was not written yet.
func (o *output) captured(token uint64, r *weftv1.CommandResult) error {
	o.attempt(token)
	if err := o.stdout.write(0, capturedBytes(r.GetStdout())); err != nil {
		return err
	}
	return o.stderr.write(0, capturedBytes(r.GetStderr()))
}

// complete reports whether everything was written.
func (o *output) complete(token uint64, r *weftv1.CommandResult) bool {
	return o.token == token && o.stdout.offset >= r.GetStdout().GetBytesTotal() &&
		o.stderr.offset >= r.GetStderr().GetBytesTotal()
}

// finish writes the rest of the output: from the outcome if it is there, else from the worker, which
// keeps it until the outcome is acknowledged.
func (o *output) finish(ctx context.Context, c *client.Client, taskID string, outcome *client.Outcome) error {
	r := outcome.Command
	if r == nil {
		return nil
	}
	if err := o.captured(outcome.Token, r); err != nil || o.complete(outcome.Token, r) {
		return err
	}
	err := o.follow(ctx, c, taskID, nil)
	switch {
	case o.complete(outcome.Token, r):
		return nil
	case err != nil && !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE):
		return err
	default:
		return errOutputLost
	}
}

// capturedBytes are the bytes of an outcome's stream.
func capturedBytes(o *weftv1.CapturedOutput) []byte {
	if t, ok := o.GetValue().(*weftv1.CapturedOutput_Text); ok {
		return []byte(t.Text)
	}
	return o.GetData()
}
