package sim

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// modelLocks is what the journal says of the lock service.
type modelLocks struct {
	m       *model
	tokens  map[uint64]*journalv1.GrantPut // all that ever were granted
	grants  map[uint64]*journalv1.GrantPut // live
	waiters map[uint64]*modelWaiter        // live
	highest uint64                         // token

	semaphores map[string]*journalv1.SemaphorePut
	barriers   map[string]*journalv1.BarrierPut
	indexes    map[uint64]map[uint32]bool // of the parties of a meeting
	met        uint64                     // the last meeting
	values     map[string]uint64          // versions
	bell       uint64                     // the event's generation

	granting *modelWaiter               // it ended with the last record: the next one may be its grant
	owed     map[string]int             // notifications that were not heard, by condition, and are yet to be passed on
	unheard  map[channelNumber]notified // answers that may not have been heard
	heard    map[lockservice.Channel]uint64
}

type channelNumber struct {
	channel lockservice.Channel
	number  uint64
}

// notified is an answer of one that was notified. Who has used the grant has heard of it.
type notified struct {
	condition string
	token     uint64
}

type modelWaiter struct {
	put *journalv1.WaiterPut
}

func newModelLocks(m *model) *modelLocks {
	return &modelLocks{
		m: m, tokens: map[uint64]*journalv1.GrantPut{}, grants: map[uint64]*journalv1.GrantPut{}, waiters: map[uint64]*modelWaiter{},
		semaphores: map[string]*journalv1.SemaphorePut{}, barriers: map[string]*journalv1.BarrierPut{},
		indexes: map[uint64]map[uint32]bool{}, values: map[string]uint64{}, owed: map[string]int{},
		unheard: map[channelNumber]notified{}, heard: map[lockservice.Channel]uint64{},
	}
}

func (k *modelLocks) fail(format string, args ...any) { k.m.fail(format, args...) }

// told notes what a stream's frame acknowledges, at its decision; a new term has only what is in the journal.
func (k *modelLocks) told(f *shard.SynchronizeFrame) {
	k.heard[f.Channel] = max(k.heard[f.Channel], f.Below)
}

func (k *modelLocks) record(rec *journalv1.Record) {
	before := k.granting
	k.granting = nil
	if c, ok := rec.Change.(*journalv1.Record_GrantPut); ok {
		k.grantPut(c.GrantPut, before)
		return
	}
	k.unpassed(before)
	switch c := rec.Change.(type) {
	case *journalv1.Record_WaiterEnded:
		k.waiterEnded(c.WaiterEnded.Id)
	case *journalv1.Record_GrantChanged:
		if g := k.grants[c.GrantChanged.Token]; g == nil || c.GrantChanged.Depth == 0 {
			k.fail("grant %d changes to depth %d and is not there", c.GrantChanged.Token, c.GrantChanged.Depth)
		} else {
			g.Depth = c.GrantChanged.Depth
		}
	case *journalv1.Record_GrantDropped:
		if k.grants[c.GrantDropped.Token] == nil {
			k.fail("grant %d ends and is not there", c.GrantDropped.Token)
		}
		delete(k.grants, c.GrantDropped.Token)
	case *journalv1.Record_WaiterPut:
		k.waiterPut(c.WaiterPut)
	case *journalv1.Record_WaiterMoved:
		k.waiterMoved(c.WaiterMoved)
	case *journalv1.Record_Answered:
		k.answered(c.Answered)
	case *journalv1.Record_SessionEnded:
		k.sessionEnded(sid(c.SessionEnded.Id))
	default:
		k.object(rec)
	}
}

func (k *modelLocks) object(rec *journalv1.Record) {
	switch c := rec.Change.(type) {
	case *journalv1.Record_SemaphorePut:
		s := c.SemaphorePut
		if s.Free && (s.Available < 0 || s.Bounded && s.Available > s.Permits) {
			k.fail("semaphore %s has %d permits of %d", s.Name, s.Available, s.Permits)
		}
		k.semaphores[s.Name] = s
	case *journalv1.Record_SemaphoreDropped:
		if s := k.semaphores[c.SemaphoreDropped.Name]; s == nil || s.Free && s.Available != s.Permits || k.permits(s.Name) != 0 {
			k.fail("semaphore %s is forgotten, and is not as at first", c.SemaphoreDropped.Name)
		}
		delete(k.semaphores, c.SemaphoreDropped.Name)
	case *journalv1.Record_BarrierPut:
		k.barrierPut(c.BarrierPut)
	case *journalv1.Record_BarrierDropped:
		delete(k.barriers, c.BarrierDropped.Name)
	case *journalv1.Record_ValuePut:
		if v := c.ValuePut; v.Version < k.values[v.Name] {
			k.fail("value %s has version %d after %d", v.Name, v.Version, k.values[v.Name])
		} else {
			k.values[v.Name] = v.Version
		}
	case *journalv1.Record_EventPut:
		if e := c.EventPut; e.Generation < k.bell {
			k.fail("event %s has generation %d after %d", e.Name, e.Generation, k.bell)
		} else {
			k.bell = e.Generation
		}
	}
}

func (k *modelLocks) alive(h *journalv1.HolderId) bool {
	s := k.m.sessions[sid(h.SessionId)]
	return s != nil && !s.ended
}

func sameHolder(a, b *journalv1.HolderId) bool { return proto.Equal(a, b) }

// queueOf is what a waiter waits to hold: a lock or a semaphore.
func queueOf(w *journalv1.WaiterPut) (kind uint32, name string) {
	if w.Kind == uint32(lockservice.KindCondition) {
		return uint32(lockservice.KindLock), w.Lock
	}
	return w.Kind, w.Name
}

// queued tells whether a waiter waits for that now.
func queued(w *journalv1.WaiterPut, kind uint32, name string) bool {
	of, n := queueOf(w)
	return of == kind && n == name && (w.Kind != uint32(lockservice.KindCondition) || w.Back)
}

func (k *modelLocks) permits(semaphore string) (n int64) {
	for _, g := range k.grants {
		if g.Kind == uint32(lockservice.KindSemaphore) && g.Name == semaphore {
			n += g.Permits
		}
	}
	return n
}

func (k *modelLocks) grantPut(g *journalv1.GrantPut, from *modelWaiter) {
	if old := k.grants[g.Token]; old != nil {
		if !proto.Equal(old, g) {
			k.fail("grant %d is copied and not as it was", g.Token)
		}
		k.unpassed(from)
		return
	}
	if g.Token <= k.highest {
		k.fail("token %d is granted after %d", g.Token, k.highest)
	}
	k.highest = g.Token
	if !k.alive(g.Holder) {
		k.fail("grant %d of %s is to a session that is over", g.Token, g.Name)
	}
	if from != nil && !sameHolder(from.put.Holder, g.Holder) {
		k.unpassed(from)
		from = nil
	}
	k.inTurn(g, from)
	k.fits(g)
	k.once(g)
	k.grants[g.Token], k.tokens[g.Token] = proto.CloneOf(g), g
	if from != nil && from.put.Depth != g.Depth {
		k.fail("grant %d has depth %d, its waiter wanted %d", g.Token, g.Depth, from.put.Depth)
	}
}

// once holds a request to one grant: its session has nothing else.
func (k *modelLocks) once(g *journalv1.GrantPut) {
	if s := k.m.sessions[sid(g.Holder.SessionId)]; s == nil || s.kind != session.Reservation {
		return
	}
	for token, other := range k.tokens {
		if sameHolder(other.Holder, g.Holder) {
			k.fail("a request is granted %d, and was granted %d", g.Token, token)
		}
	}
}

// inTurn holds a grant to the order of those who wait: nobody is before it.
func (k *modelLocks) inTurn(g *journalv1.GrantPut, from *modelWaiter) {
	for id, w := range k.waiters {
		if queued(w.put, g.Kind, g.Name) && (from == nil || w.put.Order < from.put.Order) {
			k.fail("grant %d of %s overtakes waiter %d", g.Token, g.Name, id)
		}
	}
}

// fits holds a grant to the others of the same.
func (k *modelLocks) fits(g *journalv1.GrantPut) {
	if g.Kind == uint32(lockservice.KindSemaphore) {
		if s := k.semaphores[g.Name]; s == nil || k.permits(g.Name)+g.Permits > s.Permits {
			k.fail("semaphore %s: %d permits more than there are, beside %d", g.Name, g.Permits, k.permits(g.Name))
		}
		return
	}
	for token, other := range k.grants {
		if other.Kind == g.Kind && other.Name == g.Name && (other.Mode == uint32(lockservice.Exclusive) || g.Mode == uint32(lockservice.Exclusive)) {
			k.fail("lock %s is granted by %d beside %d", g.Name, g.Token, token)
		}
	}
}

func (k *modelLocks) waiterPut(w *journalv1.WaiterPut) {
	if old := k.waiters[w.Id]; old != nil {
		same := proto.CloneOf(w)
		if same.Origin != nil {
			same.Origin.Below = old.put.Origin.GetBelow()
		}
		if !proto.Equal(old.put, same) {
			k.fail("waiter %d is copied and not as it was", w.Id)
		}
		return
	}
	for id, other := range k.waiters {
		if sameHolder(other.put.Holder, w.Holder) {
			k.fail("waiter %d is of a holder that is waiter %d", w.Id, id)
		}
	}
	if !k.alive(w.Holder) {
		k.fail("waiter %d is of a session that is over", w.Id)
	}
	if w.Kind == uint32(lockservice.KindCondition) {
		k.gives(w)
	}
	k.waiters[w.Id] = &modelWaiter{put: proto.CloneOf(w)}
}

// gives holds who begins to wait at a condition to its having the lock.
func (k *modelLocks) gives(w *journalv1.WaiterPut) {
	for _, g := range k.grants {
		if g.Name == w.Lock && g.Kind == uint32(lockservice.KindLock) && sameHolder(g.Holder, w.Holder) {
			if g.Depth != w.Depth || g.Mode != uint32(lockservice.Exclusive) {
				k.fail("waiter %d gives up %s, which it had %d times, for %d", w.Id, w.Lock, g.Depth, w.Depth)
			}
			return
		}
	}
	k.fail("waiter %d waits at a condition without the lock %s", w.Id, w.Lock)
}

func (k *modelLocks) waiterMoved(r *journalv1.WaiterMoved) {
	w := k.waiters[r.Id]
	if w == nil || w.put.Kind != uint32(lockservice.KindCondition) || w.put.Back {
		k.fail("waiter %d comes back from a condition, and is not there", r.Id)
		return
	}
	for id, other := range k.waiters {
		if p := other.put; r.Notified && p.Kind == w.put.Kind && p.Name == w.put.Name && !p.Back && p.Order < w.put.Order {
			k.fail("waiter %d is notified before waiter %d", r.Id, id)
		}
	}
	w.put.Back, w.put.Notified, w.put.Order = true, r.Notified, r.Order
	if r.Notified && k.owed[w.put.Name] > 0 {
		k.owed[w.put.Name]--
	}
}

func (k *modelLocks) waiterEnded(id uint64) {
	w := k.waiters[id]
	if w == nil {
		k.fail("waiter %d ends and is not there", id)
		return
	}
	delete(k.waiters, id)
	k.granting = w
}

// unpassed notes the notification of a waiter that ended with nothing.
func (k *modelLocks) unpassed(w *modelWaiter) {
	if w != nil && w.put.Notified {
		k.owed[w.put.Name]++
	}
}

func (k *modelLocks) sessionEnded(id session.ID) {
	for at, n := range k.unheard {
		if at.channel.Session == id {
			if at.number >= k.heard[at.channel] && k.grants[n.token] != nil {
				k.owed[n.condition]++
			}
			delete(k.unheard, at)
		}
	}
}

func (k *modelLocks) answered(r *journalv1.Answered) {
	o, a := r.Origin, r.Answer
	at := channelNumber{lockservice.Channel{Session: sid(o.GetSessionId()), Number: o.GetChannel()}, o.GetNumber()}
	if o.GetNumber() != 0 {
		k.heard[at.channel] = max(k.heard[at.channel], o.GetBelow())
		delete(k.unheard, at)
		if a.Notified {
			k.unheard[at] = notified{r.Object, a.Token}
		}
		if !k.alive(&journalv1.HolderId{SessionId: o.GetSessionId()}) {
			k.fail("command %d is answered, and its session is over", at.number)
		}
	}
	if lockservice.Outcome(a.Outcome) == lockservice.Done && a.Token == 0 && a.Generation != 0 && k.indexes[a.Generation] != nil {
		if k.indexes[a.Generation][a.Index] || a.Index >= parties {
			k.fail("index %d of meeting %d is given twice", a.Index, a.Generation)
		}
		k.indexes[a.Generation][a.Index] = true
	}
}

func (k *modelLocks) barrierPut(b *journalv1.BarrierPut) {
	old := k.barriers[b.Name]
	k.barriers[b.Name] = b
	if b.Generation == 0 || old != nil && old.Generation == b.Generation {
		return
	}
	if b.Generation <= k.met {
		k.fail("meeting %d of barrier %s comes after %d", b.Generation, b.Name, k.met)
	}
	k.met, k.indexes[b.Generation] = b.Generation, map[uint32]bool{}
	if n := k.party(b.Name); n < int(b.Parties) {
		k.fail("barrier %s opens for %d of %d parties", b.Name, n, b.Parties)
	}
}

func (k *modelLocks) party(barrier string) (n int) {
	for _, w := range k.waiters {
		if w.put.Kind == uint32(lockservice.KindBarrier) && w.put.Name == barrier {
			n++
		}
	}
	return n
}

// entryEnd holds the state after an entry to what may be broken within one.
func (k *modelLocks) entryEnd() {
	k.unpassed(k.granting)
	k.granting = nil
	for _, condition := range slices.Sorted(maps.Keys(k.owed)) {
		for id, w := range k.waiters {
			if k.owed[condition] > 0 && w.put.Kind == uint32(lockservice.KindCondition) && w.put.Name == condition && !w.put.Back && k.alive(w.put.Holder) {
				k.fail("condition %s: %d notifications are lost, and waiter %d waits", condition, k.owed[condition], id)
			}
		}
	}
	clear(k.owed)
	for name, b := range k.barriers {
		if n := k.party(name); b.Broken && n > 0 || b.Actor == nil && !b.Broken && n >= int(b.Parties) {
			k.fail("barrier %s: %d parties wait, of %d, broken %v", name, n, b.Parties, b.Broken)
		}
	}
}

// left names what is there in the end and should not be.
func (k *modelLocks) left() string {
	if len(k.grants)+len(k.waiters) > 0 {
		return "grants or waiters are left"
	}
	return ""
}

// lockAnswered holds an answer to the journal: what is granted is there, and is of the session that is told.
func (o *observer) lockAnswered(st *stream, e *shard.LockAnswered) {
	token := e.Reply.Answer.Token
	if token == 0 {
		return
	}
	if g := o.m.locks.tokens[token]; g == nil || sid(g.Holder.SessionId) != st.channel.Session {
		o.fail("command %d is told that it was granted %d, and the journal does not say so", e.Number, token)
	}
}
