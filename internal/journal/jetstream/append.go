package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weftq/weft/internal/journal"
)

// Error codes of the server's answers to a publish.
const (
	codeWrongLastSequence = 10071
	codeWrongLastSubject  = 10164
	codeStoreFailed       = 10077
)

// ack is the server's answer to a publish.
type ack struct {
	Seq   uint64 `json:"seq"`
	Error *struct {
		Code int    `json:"err_code"`
		Text string `json:"description"`
	} `json:"error"`
}

// Append implements journal.Stream. Without a deadline in its context it takes at most
// Config.AppendTimeout.
func (s *Stream) Append(ctx context.Context, last uint64, data []byte) error {
	if len(data) > entryBytesMax {
		return fmt.Errorf("jetstream: an entry of %d bytes is above the limit of %d", len(data), entryBytesMax)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return s.failure("append to", context.Cause(ctx))
	}
	if err := ctx.Err(); err != nil {
		return s.failure("append to", context.Cause(ctx))
	}
	if s.broken != nil {
		return s.failure("append to", s.broken)
	}
	s.appends++
	reply := s.inbox + strconv.FormatUint(s.appends, 36)
	err := s.conn.PublishMsg(&nats.Msg{
		Subject: s.subject,
		Reply:   reply,
		Header:  nats.Header{"Nats-Expected-Last-Sequence": {strconv.FormatUint(last, 10)}},
		Data:    data,
	})
	if err != nil {
		return s.failure("append to", err)
	}
	return s.await(ctx, reply, last+1)
}

// await takes the answer to the append under way. Answers to appends that were given up are dropped.
func (s *Stream) await(ctx context.Context, reply string, seq uint64) error {
	patience := time.NewTimer(probeAfter)
	defer patience.Stop()
	var health <-chan error
	for {
		select {
		case msg := <-s.acks:
			if msg.Subject == reply {
				return s.judge(msg, seq)
			}
		case <-patience.C:
			health = s.probe()
		case err := <-health:
			if err != nil {
				s.broken = fmt.Errorf("%w: %w", journal.ErrStoreFailed, err)
				return s.failure("append to", s.broken)
			}
			patience.Reset(probeAfter)
		case <-s.conn.lost:
			return s.failure("append to", nats.ErrConnectionClosed)
		case <-ctx.Done():
			return s.failure("append to", fmt.Errorf("no acknowledgement of entry %d: %w", seq, context.Cause(ctx)))
		}
	}
}

func (s *Stream) judge(msg *nats.Msg, seq uint64) error {
	if len(msg.Data) == 0 {
		// The server answers for a subject that nobody listens to: the stream is gone.
		return s.failure("append to", nats.ErrNoResponders)
	}
	var a ack
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return fmt.Errorf("jetstream: append to %s: the acknowledgement %q is not one: %w", s.name, msg.Data, err)
	}
	switch {
	case a.Error == nil && a.Seq == seq:
		return s.mark.acked(seq)
	case a.Error == nil:
		return fmt.Errorf("jetstream: append to %s: stored at %d instead of %d: somebody else writes to this stream", s.name, a.Seq, seq)
	case a.Error.Code == codeWrongLastSequence || a.Error.Code == codeWrongLastSubject:
		return fmt.Errorf("%w: %s: %s", journal.ErrConflict, s.name, a.Error.Text)
	case a.Error.Code == codeStoreFailed:
		return fmt.Errorf("jetstream: append to %s: %w: %s", s.name, journal.ErrStoreFailed, a.Error.Text)
	}
	return fmt.Errorf("jetstream: append to %s: %s (%d)", s.name, a.Error.Text, a.Error.Code)
}
