package worker

import (
	"context"
	"errors"
	"io"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// helloTimeout is the least time for a connection and the broker's welcome.
const helloTimeout = 5 * time.Second

// goodbyeTimeout is how long the broker may take to close the stream of a worker that leaves.
const goodbyeTimeout = 2 * time.Second

var errSilent = errors.New("worker: the broker is silent")

// stream is one connection to the broker, from hello to its end.
type stream struct {
	w    *Worker
	rpc  grpc.BidiStreamingClient[weftv1.WorkRequest, weftv1.WorkResponse]
	ctx  context.Context // of the RPC; its cause says why the worker gave it up
	fail context.CancelCauseFunc

	silence *time.Timer // fires when the broker was silent for too long
	pulse   pulse
	follows follows

	// The sender's own.
	saidDraining, saidGoodbye bool
}

// serve opens a stream and serves it to its end. It returns whether the broker had welcomed the worker.
func (w *Worker) serve(ctx context.Context, conn grpc.ClientConnInterface) (welcomed bool, err error) {
	s := &stream{w: w}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	s.silence = time.AfterFunc(max(silenceMax(w.ttl()), helloTimeout), func() { s.fail(errSilent) })
	defer s.silence.Stop()

	if s.rpc, err = weftv1.NewWorkerServiceClient(conn).Work(s.ctx); err != nil {
		return false, s.reason(err)
	}
	begun := now()
	if err := s.rpc.Send(&weftv1.WorkRequest{Hello: w.hello()}); err != nil && !errors.Is(err, io.EOF) {
		return false, s.reason(err)
	}
	first, err := s.rpc.Recv()
	if err != nil {
		return false, s.reason(err)
	}
	if first.GetWelcome() == nil {
		return false, errors.New("worker: the broker's first frame is no welcome")
	}
	s.welcome(first.GetWelcome(), begun)
	w.setConnection(conn)
	defer w.setConnection(nil)
	s.follows.open(s)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.send()
	}()
	err = s.receive(first)
	w.dropped(time.Now())
	s.fail(err) // ends the sender
	<-sent
	s.follows.close()
	return true, s.reason(err)
}

// reason prefers why the worker gave the stream up to what the RPC makes of that.
func (s *stream) reason(err error) error {
	if cause := context.Cause(s.ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}

// hello says what the worker has. What the local grace has taken from it is not listed: others may run
// it by now.
func (w *Worker) hello() *weftv1.WorkHello {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &weftv1.WorkHello{
		Namespace:  w.cfg.Namespace,
		SessionId:  w.session.id,
		SessionTtl: durationpb.New(w.cfg.SessionTTL),
		Worker:     w.cfg.Name,
		Queues:     w.cfg.Queues,
		Kinds:      w.kinds(),
		Slots:      uint32(w.cfg.Slots),
		Labels:     w.cfg.Labels,
	}
	for name, weight := range w.cfg.QueueWeights {
		if h.QueueWeights == nil {
			h.QueueWeights = make(map[string]uint32)
		}
		h.QueueWeights[name] = uint32(weight)
	}
	w.outbox.credits = 0
	if !w.draining {
		h.Credits = uint32(w.cfg.Slots - w.running)
	}
	for token, a := range w.attempts {
		h.Attempts = append(h.Attempts, &weftv1.HeldAttempt{TaskId: a.TaskID, Token: token})
	}
	w.session.introduced = true
	return h
}

// welcome takes over the session and queues every report that was not acknowledged.
func (s *stream) welcome(m *weftv1.WorkWelcome, begun moment) {
	w := s.w
	w.lose(m.GetSupersededTokens())
	w.mu.Lock()
	if ttl := m.GetSessionTtl().AsDuration(); ttl > 0 {
		w.session.ttl = ttl
	}
	ttl := w.session.ttl
	w.session.id = m.GetSessionId()
	w.session.resumed()
	w.renewed(begun)
	w.outbox.reports = w.outbox.reports[:0]
	for _, a := range w.attempts {
		a.advance.restart()
		if a.report != nil {
			w.outbox.reports = append(w.outbox.reports, a)
		} else if a.advance.unsent(false) {
			w.tellAdvance(a)
		}
	}
	w.mu.Unlock()
	s.pulse.start(ttl)
	s.silence.Reset(time.Until(begun.wall.Add(silenceMax(ttl))))
	w.wakeSender()
	w.log.Info("connected to the broker", "worker", w.cfg.Name, "superseded", len(m.GetSupersededTokens()))
}

// receive handles frames until the stream ends.
func (s *stream) receive(frame *weftv1.WorkResponse) (err error) {
	for {
		s.handle(frame)
		if frame, err = s.rpc.Recv(); err != nil {
			return err
		}
	}
}

func (s *stream) handle(frame *weftv1.WorkResponse) {
	w := s.w
	w.answerAdvances(frame.GetAdvances())
	w.acknowledge(frame.GetAcceptedTokens(), frame.GetRefusedTokens())
	w.assign(frame.GetAssignments())
	for _, c := range frame.GetCancels() {
		w.cancelAttempt(c)
	}
	for _, r := range frame.GetOutputRequests() {
		s.follows.request(r)
	}
	for _, token := range frame.GetReleasedTokens() {
		w.outputs.release(token)
	}
	if beat := frame.GetHeartbeat(); beat != 0 {
		s.answered(beat)
	}
}

// answered notes that the broker has heard a heartbeat: the session lives on from its sending.
func (s *stream) answered(beat uint64) {
	sent, ok := s.pulse.answered(beat)
	if !ok {
		return
	}
	s.w.mu.Lock()
	s.w.renewed(sent)
	ttl := s.w.session.ttl
	s.w.mu.Unlock()
	s.w.wakeSender() // what waited for that
	s.silence.Reset(time.Until(sent.wall.Add(silenceMax(ttl))))
}

// send is the stream's only sender. It takes what has gathered while the last frame was on its way.
func (s *stream) send() {
	ticker := time.NewTicker(s.pulse.every)
	defer ticker.Stop()
	for {
		beat := false
		select {
		case <-s.ctx.Done():
			return
		case <-s.w.wake:
			// Handlers that are about to end go first: they share the frame, instead of sending
			// another one each.
			runtime.Gosched()
		case <-ticker.C:
			beat = true
		}
		if err := s.sendAll(beat, ticker.C); err != nil {
			if !errors.Is(err, io.EOF) { // that one has its reason at the receiver
				s.fail(err)
			}
			return
		}
	}
}

// sendAll sends frames until there is nothing more to tell. That may be never, so it looks after the
// heartbeat as well.
func (s *stream) sendAll(beat bool, beats <-chan time.Time) error {
	for {
		select {
		case <-beats:
			beat = true
		default:
		}
		frame := s.next(beat)
		if frame == nil {
			return nil
		}
		beat = false
		if err := s.rpc.Send(frame); err != nil {
			return err
		}
		if frame.GetGoodbye() {
			return s.rpc.CloseSend() // the broker ends the stream then
		}
	}
}

// next makes the next frame, nil if there is nothing to tell.
func (s *stream) next(beat bool) *weftv1.WorkRequest {
	frame := &weftv1.WorkRequest{}
	over := s.w.leaseOver()
	s.w.mu.Lock()
	some := !over && s.w.outbox.take(frame) // beyond the lease nothing is said of attempts, until a heartbeat is answered
	if s.w.draining && !s.saidDraining {
		frame.Draining, s.saidDraining, some = true, true, true
	}
	if s.w.leaving && !s.saidGoodbye && !some {
		frame.Goodbye, s.saidGoodbye, some = true, true, true
	}
	s.w.mu.Unlock()
	if frame.Output = s.follows.take(frameChunksMax); len(frame.GetOutput()) > 0 {
		some = true
	}
	if beat {
		frame.Heartbeat = s.pulse.beat(now())
		some = true
	}
	if !some {
		return nil
	}
	return frame
}
