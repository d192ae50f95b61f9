package session

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
)

// tape keeps records as a journal would: with nothing that changes later.
type tape struct {
	seqs []uint64
	recs []any
	seq  *uint64
}

// Record implements pure.Sink.
func (t *tape) Record(rec any) int {
	switch r := rec.(type) {
	case *Put:
		again := *r
		rec = &again
	case *Ended:
		again := *r
		rec = &again
	}
	t.seqs, t.recs = append(t.seqs, *t.seq), append(t.recs, rec)
	return 0
}

// TestAgainstDeadlines lets sessions come, renew and go at random, and holds the core to a table of
// deadlines: nobody ends too early, nobody stays too long, and a replay has the same sessions.
func TestAgainstDeadlines(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		c := New()
		seq, now := uint64(0), pure.Lease(0)
		log := &tape{seq: &seq}
		deadlines := map[ID]pure.Lease{}
		ttls := map[ID]time.Duration{}
		for i := range 300 {
			seq++
			step := &pure.Step{Lease: now, Wall: pure.Wall(now), Seq: seq, Sink: log}
			switch op := r.IntN(6); {
			case op < 2:
				id := ID{byte(i), byte(i >> 8), 1}
				ttls[id] = TTLMin + time.Duration(r.IntN(int(5*time.Second)))
				if _, err := c.Open(step, State{ID: id, Namespace: "n", Kind: Client, TTL: ttls[id]}); err != nil {
					t.Fatal(err)
				}
				deadlines[id] = now.Add(ttls[id])
			case op < 4 && c.Len() > 0:
				id := c.States()[r.IntN(c.Len())].ID
				c.Renew(step, id)
				deadlines[id] = now.Add(ttls[id])
			case op == 4 && c.Len() > 0:
				id := c.States()[r.IntN(c.Len())].ID
				if r.IntN(2) == 0 {
					c.CopyOldest(step)
				} else if c.End(step, id, Closed) {
					delete(deadlines, id)
				}
			default:
				now = now.Add(time.Duration(r.IntN(int(time.Second))))
			}
			expire(t, c, step, now, deadlines)
			if err := c.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if c.Len() != len(deadlines) {
			t.Fatalf("seed %d: %d sessions, want %d", seed, c.Len(), len(deadlines))
		}
		replayed := New()
		for i, rec := range log.recs {
			replayed.Apply(rec, log.seqs[i])
		}
		if !slices.Equal(replayed.States(), c.States()) || replayed.Strangers != 0 {
			t.Fatalf("seed %d: a replay has other sessions", seed)
		}
	}
}

func expire(t *testing.T, c *Core, step *pure.Step, now pure.Lease, deadlines map[ID]pure.Lease) {
	t.Helper()
	for {
		id, due := c.Due(now)
		if !due {
			break
		}
		if deadlines[id] > now {
			t.Fatalf("session %x is due at %d, its deadline is %d", id, now, deadlines[id])
		}
		c.End(step, id, Expired)
		delete(deadlines, id)
	}
	for id, at := range deadlines {
		if at <= now {
			t.Fatalf("session %x should have ended at %d, it is %d", id, at, now)
		}
	}
}

func TestARequestOpensOneSession(t *testing.T) {
	c, seq := New(), uint64(1)
	step := &pure.Step{Seq: 1, Sink: &tape{seq: &seq}}
	open := func(id byte, hash byte) (*Session, error) {
		return c.Open(step, State{ID: ID{id}, Namespace: "n", TTL: TTLDefault, RequestID: "r", RequestHash: [16]byte{hash}})
	}
	first, err := open(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := open(2, 1); err != nil || again != first {
		t.Errorf("the same request opened %v, %v", again, err)
	}
	var refusal *pure.Refusal
	if _, err := open(3, 2); !errors.As(err, &refusal) || refusal.Reason != pure.RequestMismatch {
		t.Errorf("another body: %v", err)
	}
	c.End(step, first.ID, Closed)
	if young, err := open(4, 2); err != nil || young.ID != (ID{4}) {
		t.Errorf("after the session's end: %v, %v", young, err)
	}
}

func TestReadyGivesEveryoneTheirTime(t *testing.T) {
	c, seq := New(), uint64(1)
	step := &pure.Step{Seq: 1, Sink: &tape{seq: &seq}}
	for i := range byte(3) {
		if _, err := c.Open(step, State{ID: ID{i + 1}, Namespace: "n", TTL: time.Duration(i+1) * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	c.Ready(pure.Lease(time.Hour))
	if at, ok := c.NextDeadline(); !ok || at != pure.Lease(time.Hour+time.Second) {
		t.Errorf("the next deadline is %v", time.Duration(at))
	}
	if _, due := c.Due(pure.Lease(time.Hour)); due {
		t.Error("somebody is due")
	}
}
