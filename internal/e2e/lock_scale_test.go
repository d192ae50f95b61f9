//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/procs"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// How much there is.
const (
	scaleSessions = 10_000
	scaleLocks    = 10 // of a session
	scaleReleases = 2_000
	scaleIdle     = 6 * time.Second
	scaleBeat     = 3 * time.Second  // between heartbeats, a little less than a third of the TTL
	scaleTTL      = 10 * time.Second // the default one
	// scaleRelease bounds the slowest releases, and tells a hang from a busy machine.
	scaleRelease = 2 * time.Second
)

// Ten thousand sessions, each with a stream and heartbeats of its own, hold a hundred thousand locks: what the broker needs for that
// at rest, and how long a release takes then.
func TestLockScale(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: ten thousand sessions take half a minute")
	}
	lockScale(t, 100, func(value float64, unit string) { t.Logf("%.2f %s", value, unit) })
}

// BenchmarkLockScale is the same with a connection for each session. One run is enough:
//
//	go test ./internal/e2e -run '^$' -bench LockScale -benchtime 1x
func BenchmarkLockScale(b *testing.B) {
	for range b.N {
		lockScale(b, scaleSessions, b.ReportMetric)
	}
}

func lockScale(t testing.TB, connections int, report func(value float64, unit string)) {
	w := newWorld(t)
	b := w.broker()
	crowd := &lockCrowd{world: w}
	defer crowd.close()
	began := time.Now()
	crowd.open(b.addr, connections)
	report(time.Since(began).Seconds(), "s-sessions")
	report(idleCPU(b), "%-of-a-core-idle")
	report(float64(procs.ResidentBytes(b.Pid()))/mib, "MiB-idle")
	began = time.Now()
	crowd.acquire()
	report(time.Since(began).Seconds(), "s-locks")
	report(idleCPU(b), "%-of-a-core-holding")
	report(float64(procs.ResidentBytes(b.Pid()))/mib, "MiB-holding")
	took := crowd.release(t)
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	report(took[len(took)/2].Seconds()*1000, "ms-p50")
	report(p99.Seconds()*1000, "ms-p99")
	if p99 > scaleRelease {
		t.Errorf("a release takes %v", p99)
	}
	if lost := crowd.over(); lost != nil {
		t.Errorf("a session was lost: %v", lost)
	}
}

// lockCrowd is many sessions.
type lockCrowd struct {
	world    *world
	ctx      context.Context
	cancel   context.CancelFunc
	group    sync.WaitGroup
	conns    []*grpc.ClientConn
	sessions []*lockSession

	mu   sync.Mutex
	lost error // the first
}

// lockSession is one of them: its stream, and what it holds.
type lockSession struct {
	crowd   *lockCrowd
	stream  weftv1.LockService_SynchronizeClient
	answers chan *weftv1.SynchronizeAnswer
	tokens  []uint64 // of its locks

	mu    sync.Mutex // of the stream's sending side
	beat  uint64
	below uint64 // the answers to all commands below it have come
}

// open begins all sessions.
func (c *lockCrowd) open(addr string, connections int) {
	c.world.Helper()
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for range connections {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStaticConnWindowSize(mib)) // as the SDK: else gRPC measures the path with each heartbeat
		if err != nil {
			c.world.Fatal(err)
		}
		c.conns = append(c.conns, conn)
	}
	c.sessions = make([]*lockSession, scaleSessions)
	c.each(func(i int) error {
		s := &lockSession{crowd: c, answers: make(chan *weftv1.SynchronizeAnswer, scaleLocks)}
		c.sessions[i] = s
		var err error
		s.stream, err = weftv1.NewLockServiceClient(c.conns[i%connections]).Synchronize(c.ctx, grpc.WaitForReady(true))
		if err != nil {
			return err
		}
		if err := s.stream.Send(&weftv1.SynchronizeRequest{Hello: &weftv1.SynchronizeHello{
			Channel: 1, SessionTtl: durationpb.New(scaleTTL),
		}}); err != nil {
			return err
		}
		if _, err := s.stream.Recv(); err != nil {
			return err
		}
		c.group.Go(s.receive)
		c.group.Go(s.live)
		return nil
	})
}

// each does something for all sessions, some at a time.
func (c *lockCrowd) each(do func(i int) error) {
	c.world.Helper()
	var group errgroup.Group
	group.SetLimit(64)
	for i := range scaleSessions {
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		c.world.Fatal(err)
	}
}

// live sends heartbeats.
func (s *lockSession) live() {
	first := time.NewTimer(rand.N(scaleBeat))
	defer first.Stop()
	select {
	case <-first.C:
	case <-s.crowd.ctx.Done():
		return
	}
	tick := time.NewTicker(scaleBeat)
	defer tick.Stop()
	for {
		s.mu.Lock()
		s.beat++
		err := s.stream.Send(&weftv1.SynchronizeRequest{Heartbeat: s.beat, AcknowledgedBelow: s.below})
		s.mu.Unlock()
		if err != nil {
			return // the receiver finds out why
		}
		select {
		case <-tick.C:
		case <-s.crowd.ctx.Done():
			return
		}
	}
}

func (s *lockSession) receive() {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			if s.crowd.ctx.Err() == nil {
				s.crowd.mu.Lock()
				s.crowd.lost = err
				s.crowd.mu.Unlock()
			}
			close(s.answers)
			return
		}
		for _, a := range m.GetAnswers() {
			s.answers <- a
		}
	}
}

// command sends commands, and waits for their answers.
func (s *lockSession) command(commands ...*weftv1.SynchronizeCommand) ([]*weftv1.SynchronizeAnswer, error) {
	s.mu.Lock()
	err := s.stream.Send(&weftv1.SynchronizeRequest{Commands: commands})
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var answers []*weftv1.SynchronizeAnswer
	for range commands {
		a, ok := <-s.answers
		if !ok || a.GetRefused() != nil {
			return nil, fmt.Errorf("command %d: %v", commands[0].GetNumber(), a.GetRefused())
		}
		answers = append(answers, a)
	}
	s.mu.Lock()
	s.below = commands[len(commands)-1].GetNumber() + 1
	s.mu.Unlock()
	return answers, nil
}

// acquire has every session acquire its locks.
func (c *lockCrowd) acquire() {
	c.world.Helper()
	c.each(func(i int) error {
		var commands []*weftv1.SynchronizeCommand
		for n := range scaleLocks {
			commands = append(commands, &weftv1.SynchronizeCommand{
				Number: uint64(n + 1), //nolint:gosec // small
				Command: &weftv1.SynchronizeCommand_AcquireLock{
					AcquireLock: &weftv1.AcquireLockRequest{Name: fmt.Sprintf("lock-%d-%d", i, n)},
				},
			})
		}
		answers, err := c.sessions[i].command(commands...)
		c.sessions[i].tokens = make([]uint64, scaleLocks)
		for _, a := range answers {
			c.sessions[i].tokens[a.GetNumber()-1] = a.GetAcquireLock().GetGrant().GetToken()
		}
		return err
	})
}

// release has sessions release a lock, one after the other, and returns how long each took.
func (c *lockCrowd) release(t testing.TB) (took []time.Duration) {
	t.Helper()
	for i := range scaleReleases {
		at := i * (scaleSessions / scaleReleases)
		s := c.sessions[at]
		began := time.Now()
		_, err := s.command(&weftv1.SynchronizeCommand{
			Number: scaleLocks + 1,
			Command: &weftv1.SynchronizeCommand_ReleaseLock{
				ReleaseLock: &weftv1.ReleaseLockRequest{Name: fmt.Sprintf("lock-%d-0", at), Token: s.tokens[0]},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// idleCPU is how many percent of a core the broker needs while nothing happens but heartbeats.
func idleCPU(b *brokerProcess) float64 {
	before, began := cpuTime(b.Pid()), time.Now()
	<-time.After(scaleIdle) // what is measured
	return 100 * (cpuTime(b.Pid()) - before).Seconds() / time.Since(began).Seconds()
}

// cpuTime is what a process took so far.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	const ticksPerSecond = 100
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system time.Duration
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return (user + system) * time.Second / ticksPerSecond
}

// over returns why a session was lost, nil if none was.
func (c *lockCrowd) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

func (c *lockCrowd) close() {
	c.cancel()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.group.Wait()
}
