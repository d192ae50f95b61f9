package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/internal/boottime"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// syncSessions are a client's sessions of the lock service: its own under the empty name, and those of others, of the
// worker that it runs in, say.
type syncSessions struct {
	mu      sync.Mutex
	byGiven map[string]*syncSession
	numbers atomic.Uint64 // of holders
}

// syncSession is a session and the commands that are under way in it. Its holders trust it until a quarter of the TTL
// before its end, as far as the broker's last answer lets them know that: so it is lost for good before the broker can
// give to others what they hold.
type syncSession struct {
	client *Client
	given  string // the id of another's session; empty for the client's own

	ctx    context.Context // ends when the session is lost or closed, with the cause
	cancel context.CancelCauseFunc
	stream context.Context // of the streams; ends with ctx, or after the goodbye
	hangUp context.CancelFunc
	ended  chan struct{} // the last stream is over

	deadline atomic.Int64 // by boottime, in nanoseconds; 0 before the first welcome
	held     atomic.Int32 // contexts that end with the session

	mu       sync.Mutex
	id       string
	ttl      time.Duration
	heard    time.Duration // by boottime: when the newest sign of life was sent that the broker has answered
	err      error         // why it is over
	closing  bool
	shared   bool         // the id was handed to other programs, which trust it as long as they renew it
	current  *syncChannel // that takes commands
	channels int          // that have not ended
	timer    *time.Timer  // looks at the deadline
}

// looksPerTTL is how often per TTL a session looks at the clock while something is held: Go's timers do not count the
// time that the machine sleeps.
const looksPerTTL = 20

// syncSession returns the session of that id, or the client's own, opened if there is none.
func (c *Client) syncSession(given string) (*syncSession, error) {
	c.sync.mu.Lock()
	defer c.sync.mu.Unlock()
	if s := c.sync.byGiven[given]; s != nil && s.lost() == nil {
		return s, nil
	}
	if !c.begin() {
		return nil, ErrClosed
	}
	s := &syncSession{client: c, given: given, id: given, ttl: c.sessionTTL, ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.stream, s.hangUp = context.WithCancel(c.ctx)
	s.mu.Lock()
	s.open()
	s.mu.Unlock()
	if c.sync.byGiven == nil {
		c.sync.byGiven = make(map[string]*syncSession)
	}
	c.sync.byGiven[given] = s
	return s, nil
}

// open begins a channel, which takes the commands from now on. The caller holds s.mu, and has begun its background.
func (s *syncSession) open() {
	s.current = newSyncChannel(s)
	s.channels++
	go s.current.run()
}

// left notes the end of a channel.
func (s *syncSession) left() {
	s.mu.Lock()
	s.channels--
	last := s.channels == 0
	s.mu.Unlock()
	if last {
		s.forget()
		close(s.ended)
	}
	s.client.background.Done()
}

// forget takes a session that is over off the client's list.
func (s *syncSession) forget() {
	list := &s.client.sync
	list.mu.Lock()
	defer list.mu.Unlock()
	if list.byGiven[s.given] == s {
		delete(list.byGiven, s.given)
	}
}

// welcomed notes a stream's beginning, whose hello was sent at that time.
func (s *syncSession) welcomed(m *weftv1.SynchronizeWelcome, sent time.Duration) {
	s.mu.Lock()
	s.id = m.GetSessionId()
	if ttl := m.GetSessionTtl().AsDuration(); ttl > 0 {
		s.ttl = ttl
	}
	known := s.given != "" && s.deadline.Load() != 0
	s.mu.Unlock()
	if !known { // another's session may have less left: its end is asked for by a heartbeat, see resume
		s.renewed(sent, nil)
	}
}

// renewed moves the deadline: the broker has heard what was sent then, and the session had that much left; without a
// lease all of its TTL. The newest answer tells, also if it is bad news; one that comes late over another stream does
// not.
func (s *syncSession) renewed(sent time.Duration, lease *durationpb.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.deadline.Load() != 0 && sent < s.heard { // the clock may begin anywhere
		return
	}
	left := s.ttl
	if lease != nil {
		left = min(left, lease.AsDuration())
	}
	s.heard = sent
	s.deadline.Store(int64(sent + left - time.Duration((1-silenceShare)*float64(s.ttl))))
	s.look()
}

// look sets the timer to the deadline, or sooner while something is held. The caller holds s.mu.
func (s *syncSession) look() {
	wait := time.Duration(s.deadline.Load()) - boottime.Now()
	if s.held.Load() > 0 {
		wait = min(wait, s.ttl/looksPerTTL)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.looked)
		return
	}
	s.timer.Reset(wait)
}

// looked looks at the deadline.
func (s *syncSession) looked() {
	if s.lost() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.look()
	}
}

// holds notes a context that ends with the session.
func (s *syncSession) holds() {
	if s.held.Add(1) > 1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.timer != nil {
		s.look()
	}
}

// errLocalDeadline is a session that nobody renewed in time.
var errLocalDeadline = errors.New("client: the broker could not be reached in time to renew the session")

// lost tells why the session is over, nil if it lives: it asks the clock, and no timer.
func (s *syncSession) lost() error {
	if end := s.deadline.Load(); end != 0 && int64(boottime.Now()) >= end {
		s.lose(errLocalDeadline)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// lose ends the session: everything that is held in it and waits in it ends. The first cause holds.
func (s *syncSession) lose(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = why
	if s.id != "" { // else there was nothing to lose: the broker refused the session
		s.err = &LeaseLostError{SessionID: s.id, Cause: why}
	}
	s.end()
	s.hangUp()
	if s.given == "" && s.id != "" && !s.shared && errors.Is(why, errLocalDeadline) && s.client.begin() {
		go s.closeLost(s.id)
	}
}

// closeLost gives up a session that is lost here, and perhaps not yet at the broker.
func (s *syncSession) closeLost(id string) {
	defer s.client.background.Done()
	ctx, cancel := context.WithTimeout(s.client.ctx, closeWait)
	defer cancel()
	_ = s.client.endSession(ctx, id) // it ends by itself if the broker is not there
}

// end tells all who hold and wait of the end. The caller holds s.mu.
func (s *syncSession) end() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cancel(s.err)
}

// close ends the session of a client that is being closed: what it holds is free at once.
func (s *syncSession) close() {
	s.mu.Lock()
	s.closing = true
	if s.err == nil {
		s.err = ErrClosed
		if s.id != "" {
			s.err = &LeaseLostError{SessionID: s.id, Cause: ErrClosed}
		}
		s.end()
	}
	for _, cmd := range s.current.sent {
		if cmd.waits && s.given != "" {
			s.leave(cmd)
		}
	}
	id, parting := s.id, s.current.connected && s.stream.Err() == nil
	s.current.wake()
	s.mu.Unlock()
	if parting {
		select {
		case <-s.ended:
		case <-time.After(closeWait):
		}
	} else if s.given == "" && id != "" && s.stream.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		_ = s.client.endSession(ctx, id)
		cancel()
	}
	s.hangUp()
}

// close ends all sessions.
func (l *syncSessions) close() {
	l.mu.Lock()
	var open sync.WaitGroup
	for _, s := range l.byGiven {
		open.Go(s.close)
	}
	l.mu.Unlock()
	open.Wait()
}

// over is the error of a command whose session is over, with the object that it was about. The caller holds s.mu.
func (s *syncSession) over(object string) error {
	if lost, ok := errors.AsType[*LeaseLostError](s.err); ok {
		return &LeaseLostError{Object: object, SessionID: lost.SessionID, Cause: lost.Cause}
	}
	return s.err
}

// fatal tells whether an error of a stream ends the session.
func (s *syncSession) fatal(err error) bool {
	if resumable(err) {
		return false
	}
	var e *Error
	if errors.As(fromRPC(err), &e) && e.Code == codes.ResourceExhausted {
		return s.deadline.Load() == 0 // a broker without room; one that knows the session may have some in a moment
	}
	return true
}
