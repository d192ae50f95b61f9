package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/weftq/weft/internal/journal"
)

// A scan asks for a batch of this much at a time; the last entry of a batch may exceed it. Batches
// alternate with their processing, one ahead, so a scan holds at most three.
const (
	batchBytes   = 4 << 20
	batchEntries = 4096
)

// getRequest asks the server for one entry, or for a batch from one on.
type getRequest struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
	// NoHeaders leaves headers out of the entries. They cost more than small entries themselves.
	NoHeaders bool `json:"no_hdr"`
}

func (s *Stream) getSubject() string { return "$JS.API.DIRECT.GET." + s.name }

// batch is a run of entries without a gap, or why there is none.
type batch struct {
	entries [][]byte
	err     error
}

// Scan implements journal.Stream.
func (s *Stream) Scan(ctx context.Context, first, last uint64, fn func(uint64, []byte) error) error {
	if first > last {
		return nil
	}
	// A connection of its own: a batch on its way must not delay the acknowledgement of an append.
	c, err := connect(s.store.srv, "scan")
	if err != nil {
		return s.failure("scan", fmt.Errorf("%w: %w", journal.ErrStoreFailed, err))
	}
	defer c.close()
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fetch(ctx, c, first, last, batches)
	}()
	defer func() { cancel(); <-done }()
	for seq := first; seq <= last; {
		var b batch
		select {
		case b = <-batches:
		case <-ctx.Done():
			return s.failure("scan", context.Cause(ctx))
		}
		if b.err != nil {
			return b.err
		}
		for _, data := range b.entries {
			if err := fn(seq, data); err != nil {
				return err
			}
			seq++
		}
	}
	return nil
}

// fetch sends the batches from first to last; an error is the last one.
func (s *Stream) fetch(ctx context.Context, c conn, first, last uint64, batches chan<- batch) {
	f := fetcher{Stream: s, conn: c, inbox: nats.NewInbox(), msgs: make(chan *nats.Msg, batchEntries+2)}
	_, err := c.ChanSubscribe(f.inbox, f.msgs)
	for seq := first; seq <= last; {
		var b batch
		if err == nil {
			b.entries, err = f.next(ctx, seq, last)
		}
		b.err = err
		select {
		case batches <- b:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		seq += uint64(len(b.entries))
	}
}

type fetcher struct {
	*Stream
	conn  conn
	inbox string
	msgs  chan *nats.Msg
}

// next asks for the entries from seq on and returns at least one, and none but the next ones.
func (f *fetcher) next(ctx context.Context, seq, last uint64) ([][]byte, error) {
	ctx, cancel := f.bounded(ctx)
	defer cancel()
	n := min(last-seq+1, batchEntries)
	req, err := json.Marshal(getRequest{Seq: seq, Batch: int(n), MaxBytes: batchBytes, NoHeaders: true})
	if err != nil {
		return nil, err
	}
	if err := f.conn.PublishRequest(f.getSubject(), f.inbox, req); err != nil {
		return nil, f.failure("scan", err)
	}
	var entries [][]byte
	for {
		select {
		case msg := <-f.msgs:
			if msg.Header == nil {
				entries = append(entries, msg.Data)
				continue
			}
			return entries, f.end(ctx, msg.Header, seq, len(entries))
		case <-f.conn.lost:
			return nil, f.failure("scan", nats.ErrConnectionClosed)
		case <-ctx.Done():
			return nil, f.failure("scan", context.Cause(ctx))
		}
	}
}

// end reads the message after a batch. The server steps over what it does not have, so n entries from seq
// on are the right ones only if the last of them is at seq+n-1.
func (f *fetcher) end(ctx context.Context, h nats.Header, seq uint64, n int) error {
	switch status := h.Get("Status"); status {
	case "204":
	case "404":
		return f.gap(ctx, seq)
	case "503":
		return f.failure("scan", nats.ErrNoResponders)
	default:
		return fmt.Errorf("jetstream: scan of %s at %d: status %q %s", f.name, seq, status, h.Get("Description"))
	}
	end, err := strconv.ParseUint(h.Get("Nats-Last-Sequence"), 10, 64)
	if err != nil {
		return fmt.Errorf("jetstream: scan of %s at %d: %w", f.name, seq, err)
	}
	if n == 0 || end != seq+uint64(n)-1 {
		return f.gap(ctx, seq)
	}
	return nil
}

// gap says why a scan does not get the entries from seq on: they are purged, one is damaged, or the stream
// ends before them.
func (f *fetcher) gap(ctx context.Context, seq uint64) error {
	st, err := f.State(ctx)
	switch {
	case err != nil:
		return err
	case seq < st.First:
		return journal.ErrPurged
	case seq > st.Last:
		return journal.ErrNotFound
	}
	// One of the next entries is damaged: read them one by one to name it.
	for end := min(seq+batchEntries, st.Last); seq < end; seq++ {
		if _, err := f.Read(ctx, seq); err != nil {
			return err
		}
	}
	return &journal.CorruptError{Seq: seq, Reason: "the store cannot read it"}
}
