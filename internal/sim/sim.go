package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

const namespace = "sim"

const firstEpoch = 1_700_000_000 * time.Second

// queues that clients submit to; the last one is never made.
var queueNames = []string{"", "orders", "mail"}

var kinds = []string{"a", "b", "c"}

// sim is one run.
type sim struct {
	clock
	r       *rand.Rand
	cfg     swarm
	trace   *trace
	err     error
	calm    bool // the faults are over
	leaving bool // and so is the work
	limited bool // the state had limits while there were faults

	epoch   time.Duration // of the wall clock, which jumps
	latest  time.Duration // that it ever was
	diskLow bool
	open    []*conn
	conns   int

	journal *storage
	broker  *broker
	model   *model
	observe *observer

	callers    []*caller
	workers    []*worker
	reservers  []*reserver
	submitters []*submitter
	operators  []*operator
	planner    *planner
	lockers    []*locker
	smiths     []*locksmith
	bySession  map[session.ID]*worker
	behaviours []behaviour
	uniques    map[string]queue.Spec // the work of a unique key
	cancels    map[uint64]bool       // tasks that were cancelled one by one

	advances advances
	leases   map[session.ID]*lease
	begun    map[uint64][]uint64  // attempts that really began, of tasks that may run once
	reported map[uint64]queue.End // what workers reported, by token
}

// Result is what a run came to.
type Result struct {
	Seed    uint64
	Err     error
	Hash    uint64 // of the whole trace
	Tail    []string
	Events  int
	Records int
	Purged  uint64 // entries
	Time    time.Duration
}

// Run plays a seed. The trace goes to out, unless that is nil.
func Run(seed uint64, out io.Writer) (res Result) {
	s := newSim(seed, out)
	defer func() {
		if p := recover(); p != nil {
			s.fail("panic: %v\n%s", p, debug.Stack())
		}
		st, _ := s.journal.State(nil) //nolint:staticcheck // a journal in memory waits for nothing
		res = Result{
			Seed: seed, Err: s.err, Hash: s.trace.hash.Sum64(), Tail: s.trace.last(), Events: int(s.number),
			Records: s.model.records, Purged: st.First - 1, Time: s.now,
		}
	}()
	s.begin()
	s.play(s.cfg.chaos, func() bool { return false })
	s.settle()
	return res
}

func newSim(seed uint64, out io.Writer) *sim {
	s := &sim{
		r: rand.New(rand.NewPCG(seed, 0x77656674)), trace: newTrace(out),
		bySession: map[session.ID]*worker{}, cancels: map[uint64]bool{}, uniques: map[string]queue.Spec{},
		leases: map[session.ID]*lease{}, begun: map[uint64][]uint64{}, reported: map[uint64]queue.End{},
		advances: newAdvances(),
		epoch:    firstEpoch, latest: firstEpoch,
	}
	s.cfg = draw(s.r)
	s.limited = s.cfg.machine.Limits != (queue.Limits{})
	s.journal = newStorage(s)
	s.model = newModel(s)
	s.observe = newObserver(s)
	s.model.ticksLow, s.model.ticksHigh = s.wall(), s.wall()
	s.broker = &broker{asked: map[string]bool{}, s: s, hungUp: map[uint64]bool{}, attached: map[uint64]*stream{}}
	return s
}

// begin brings everybody in.
func (s *sim) begin() {
	s.logf("%+v", s.cfg)
	s.broker.start()
	for i := range s.cfg.callers {
		s.callers = append(s.callers, newCaller(s, i))
	}
	for i := range s.cfg.workers {
		s.workers = append(s.workers, newWorker(s, i, 0))
	}
	for i := range s.cfg.reservers {
		s.reservers = append(s.reservers, newReserver(s, i))
	}
	for i := range s.cfg.submitters {
		s.submitters = append(s.submitters, newSubmitter(s, i))
	}
	for i := range s.cfg.operators {
		s.operators = append(s.operators, newOperator(s, i))
	}
	if s.one(2) {
		s.planner = newPlanner(s)
	}
	for i := range s.cfg.lockers {
		s.lockers = append(s.lockers, newLocker(s, i))
	}
	for i := range s.cfg.smiths {
		s.smiths = append(s.smiths, newLocksmith(s, i))
	}
	for _, name := range queueNames[1:] {
		s.makeQueue(name)
	}
	s.troubles()
}

// play lets things happen for a while, or until something is so.
func (s *sim) play(d time.Duration, until func() bool) bool {
	end := s.now + d
	for s.err == nil && s.now < end && !until() {
		if !s.next() {
			s.fail("nothing happens any more")
		}
	}
	return s.err == nil && until()
}

func (s *sim) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
		s.logf("FAIL %v", s.err)
	}
}

func (s *sim) logf(format string, args ...any) { s.trace.add(s.now, format, args...) }

// upTo returns a duration below a bound.
func (s *sim) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.r.Int64N(int64(d)))
}

// one is true one time of n.
func (s *sim) one(n int) bool { return s.r.IntN(n) == 0 }

// perMille is true so many times of a thousand.
func (s *sim) perMille(n int) bool { return s.r.IntN(1000) < n }

func (s *sim) wall() pure.Wall { return pure.Wall(s.epoch + s.now) }

func (s *sim) newSession() (id session.ID) {
	binary.LittleEndian.PutUint64(id[:], s.r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], s.r.Uint64())
	return id
}

// restart is how long a broker that died takes to come back, at most.
func (s *sim) restart() time.Duration {
	if s.calm {
		return 100 * time.Millisecond
	}
	return 2 * s.cfg.ttl
}

// compare holds two durable states to each other.
func (s *sim) compare(what string, got, want []string) {
	var diff []string
	for i, j := 0, 0; (i < len(got) || j < len(want)) && len(diff) < 10; {
		switch {
		case i < len(got) && j < len(want) && got[i] == want[j]:
			i, j = i+1, j+1
		case i < len(got) && j < len(want) && head(got[i]) == head(want[j]):
			diff = append(diff, "got  "+got[i], "want "+want[j])
			i, j = i+1, j+1
		case j >= len(want) || i < len(got) && !has(want[j:], head(got[i])):
			diff = append(diff, "got  "+got[i])
			i++
		default:
			diff = append(diff, "want "+want[j])
			j++
		}
	}
	if len(diff) > 0 {
		s.fail("%s is not what all entries lead to:\n%s", what, strings.Join(diff, "\n"))
	}
}

// head names the entity of a line.
func head(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return name
}

func has(lines []string, name string) bool {
	for _, l := range lines {
		if head(l) == name {
			return true
		}
	}
	return false
}
