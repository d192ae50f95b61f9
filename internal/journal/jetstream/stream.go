package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weftq/weft/internal/journal"
)

// entryBytesMax leaves room for the message's headers.
const entryBytesMax = maxPayload - 4<<10

// Stream is one shard's journal. It implements journal.Stream.
type Stream struct {
	store   *Store
	conn    conn
	js      jetstream.JetStream
	name    string
	subject string
	mark    *watermark
	health  func() error // of the server's stream; may take as long as a write. Tests have one that hangs

	writer    chan struct{} // holds a token while an append is under way
	inbox     string        // what the subjects of acknowledgements begin with
	appends   uint64        // names the append under way; guarded by writer
	broken    error         // the store has failed; guarded by writer
	acks      chan *nats.Msg
	closeOnce sync.Once
}

var _ journal.Stream = (*Stream)(nil)

// openStream connects to a shard's stream, and creates it if it is not there and should not be.
func (st *Store) openStream(ctx context.Context, f *shardFiles) (*Stream, error) {
	c, err := connect(st.srv, "journal")
	if err != nil {
		return nil, err
	}
	s := &Stream{
		store:   st,
		conn:    c,
		name:    f.name,
		subject: f.subject,
		mark:    f.mark,
		writer:  make(chan struct{}, 1),
		inbox:   nats.NewInbox() + ".",
		acks:    make(chan *nats.Msg, 64),
	}
	s.health = s.healthz
	if err := s.begin(ctx, f); err != nil {
		c.close()
		return nil, fmt.Errorf("jetstream: stream %s: %w", s.name, err)
	}
	return s, nil
}

func (s *Stream) begin(ctx context.Context, f *shardFiles) error {
	var err error
	if s.js, err = jetstream.New(s.conn.Conn); err != nil {
		return err
	}
	if err := s.ensure(ctx, f); err != nil {
		return err
	}
	if err := s.holdPromise(ctx); err != nil {
		return err
	}
	_, err = s.conn.ChanSubscribe(s.inbox+"*", s.acks)
	return err
}

// ensure creates the stream if it is not there.
func (s *Stream) ensure(ctx context.Context, f *shardFiles) error {
	_, err := s.js.Stream(ctx, s.name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	// The server leaves out a stream whose description it cannot read. Creating it anew would write over it.
	if f.first > 0 || f.mark.promised() > 0 {
		return fmt.Errorf("%w: the server does not know it, yet %s has entries: meta.inf or meta.sum there is damaged or gone",
			journal.ErrDamaged, f.dir)
	}
	_, err = s.js.CreateStream(ctx, s.config())
	return err
}

// holdPromise holds what the server found against what was acknowledged before.
func (s *Stream) holdPromise(ctx context.Context) error {
	st, err := s.state(ctx)
	if err != nil {
		return err
	}
	w := s.mark
	switch {
	case !w.known:
		return w.reset(st)
	case s.store.cfg.Durability == Interval && w.reboot && st.Last < w.last:
		s.store.cfg.Logger.Warn("the machine crashed and acknowledged entries are lost, as durability \"interval\" allows",
			"stream", s.name, "entries", w.last-st.Last)
		return w.reset(st)
	}
	return w.check(st, w.last)
}

func (s *Stream) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        s.name,
		Description: "Weft journal. Nobody else may publish here.",
		Subjects:    []string{s.subject},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		Replicas:    1,
		MaxMsgs:     -1,
		MaxBytes:    -1,
		MaxMsgSize:  -1,
		AllowDirect: true,
		DenyDelete:  true,
	}
}

// State implements journal.Stream. A stream that lacks what was acknowledged is a journal.CorruptError.
func (s *Stream) State(ctx context.Context) (journal.State, error) {
	last := s.mark.promised()
	st, err := s.state(ctx)
	if err == nil {
		err = s.mark.check(st, last)
	}
	return st, err
}

func (s *Stream) state(ctx context.Context) (journal.State, error) {
	str, err := s.js.Stream(ctx, s.name)
	if err != nil {
		return journal.State{}, s.failure("state", err)
	}
	st := str.CachedInfo().State
	if st.Msgs == 0 {
		st.FirstSeq = st.LastSeq + 1 // a new stream says 0
	}
	return journal.State{First: st.FirstSeq, Last: st.LastSeq, Bytes: st.Bytes}, nil
}

// Read implements journal.Stream.
func (s *Stream) Read(ctx context.Context, seq uint64) ([]byte, error) {
	if seq == 0 { // the server takes it for a request that names no entry
		return nil, journal.ErrNotFound
	}
	req, err := json.Marshal(getRequest{Seq: seq})
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	msg, err := s.conn.RequestWithContext(ctx, s.getSubject(), req)
	if err != nil {
		return nil, s.failure("read", err)
	}
	switch status := msg.Header.Get("Status"); status {
	case "":
		return msg.Data, nil
	case "404":
		return nil, s.missing(ctx, seq)
	default:
		return nil, fmt.Errorf("jetstream: read entry %d of %s: status %s %s", seq, s.name, status, msg.Header.Get("Description"))
	}
}

// missing says why an entry is not served: the server's answer is the same for an entry that is purged,
// one that never was, and one that it cannot read.
func (s *Stream) missing(ctx context.Context, seq uint64) error {
	st, err := s.State(ctx)
	switch {
	case err != nil:
		return err
	case seq < st.First || seq > st.Last:
		return journal.ErrNotFound
	}
	return &journal.CorruptError{Seq: seq, Reason: "the store cannot read it"}
}

// Purge implements journal.Stream.
func (s *Stream) Purge(ctx context.Context, below uint64) error {
	st, err := s.State(ctx)
	if err != nil {
		return err
	}
	// JetStream would move the last sequence up, and every later append would miss.
	if below > st.Last+1 {
		return fmt.Errorf("jetstream: purge of %s below %d, and its last entry is %d", s.name, below, st.Last)
	}
	if below <= st.First {
		return nil
	}
	if err := s.mark.purging(below); err != nil {
		return err
	}
	str, err := s.js.Stream(ctx, s.name)
	if err != nil {
		return s.failure("purge", err)
	}
	if err = str.Purge(ctx, jetstream.WithPurgeSequence(below)); err == nil {
		return nil
	}
	// An error does not mean that nothing was purged.
	if st, serr := s.State(ctx); serr == nil && st.First >= below {
		return nil
	}
	// A purge writes, too. If that has failed, the stream is frozen.
	select {
	case sick := <-s.probe():
		if sick != nil {
			err = fmt.Errorf("%w: %w", journal.ErrStoreFailed, sick)
		}
	case <-ctx.Done(): // a server that hangs in a write says nothing of its health either
		err = fmt.Errorf("%w, and nothing is known of the store's health: %w", err, context.Cause(ctx))
	}
	return s.failure("purge", err)
}

// Free implements journal.Stream. It is what the file system has for an unprivileged process.
func (s *Stream) Free() (uint64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.store.cfg.Dir, &fs); err != nil {
		return 0, fmt.Errorf("jetstream: free space of %s: %w", s.store.cfg.Dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// EntryBytesMax implements journal.Stream.
func (s *Stream) EntryBytesMax() int { return entryBytesMax }

// Close implements journal.Stream.
func (s *Stream) Close() error {
	s.closeOnce.Do(s.conn.close)
	return nil
}

// bounded gives a context a deadline if it has none.
func (s *Stream) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.store.cfg.AppendTimeout)
}

// failure says what was tried, and marks the errors that only a new Open ends.
func (s *Stream) failure(what string, err error) error {
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrConnectionClosed) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		err = fmt.Errorf("%w: %w", journal.ErrStoreFailed, err)
	}
	return fmt.Errorf("jetstream: %s %s: %w", what, s.name, err)
}
