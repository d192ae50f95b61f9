package lockservice

import (
	"cmp"
	"fmt"
	"math"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// DataMax bounds a text or bytes, in bytes.
const DataMax = 64 << 10

// value is there until it is deleted.
type value struct {
	ValueState
	number uint64
	node   node
}

func (c *Core) applyValue(st *ValueState, seq uint64) {
	n := name{st.Namespace, st.Name}
	v := c.values.byName[n]
	if v == nil {
		v = &value{}
		v.number = c.values.add(n, v)
	}
	v.ValueState = *st
	c.touch(&v.node, v, st.Namespace, valueWeight(st), seq)
	c.valueChanged(n)
}

func valueWeight(st *ValueState) int64 {
	return int64(160 + len(st.Namespace) + len(st.Name) + len(st.Data.Text))
}

// Value returns a value. One that is not there has version 0.
func (c *Core) Value(namespace, valueName string) ValueState {
	if v := c.values.byName[name{namespace, valueName}]; v != nil {
		return v.ValueState
	}
	return ValueState{Namespace: namespace, Name: valueName}
}

// valueAnswer leaves out what is large: who waits for a value is given it, and the others know it.
func valueAnswer(st *ValueState) Answer {
	return Answer{Outcome: Done, Version: st.Version, Data: st.Data}
}

// brief is an answer that may be kept.
func brief(st *ValueState) Answer {
	a := valueAnswer(st)
	a.Data.Text = ""
	return a
}

// Change is a change of a value.
type Change struct {
	Namespace, Name string
	IfVersion       uint64
	Conditional     bool // only if the version is so
	Guard           Guard
	Origin          Origin
}

// changeable refuses a change whose guard or condition does not hold.
func (c *Core) changeable(ch *Change, st *ValueState) error {
	if ch.Guard.Token != 0 {
		if err := c.CheckLock(ch.Namespace, ch.Guard); err != nil {
			return err
		}
	}
	if ch.Conditional && ch.IfVersion != st.Version {
		return pure.Refuse(pure.ValueChanged, fmt.Sprintf("the value %s has version %d, not %d", ch.Name, st.Version, ch.IfVersion),
			"value", ch.Name, "version", st.Version)
	}
	return nil
}

func (st *ValueState) typed(t Type) error {
	if st.Version == 0 || st.Data.Type == t {
		return nil
	}
	return pure.Refuse(pure.ValueType, fmt.Sprintf("the value %s is of type %s, not %s", st.Name, st.Data.Type, t),
		"value", st.Name, "type", st.Data.Type.String())
}

// SetValue sets a value, and makes it if it is not there.
func (c *Core) SetValue(step *pure.Step, ch *Change, data Data) (Decision, error) {
	if d, known, err := c.recall(ch.Namespace, &ch.Origin); known {
		return d, err
	}
	st := c.Value(ch.Namespace, ch.Name)
	if err := st.typed(data.Type); err != nil {
		return Decision{}, err
	}
	if err := c.changeable(ch, &st); err != nil {
		return Decision{}, err
	}
	return c.assign(step, ch, &st, data)
}

// assign changes a value.
func (c *Core) assign(step *pure.Step, ch *Change, st *ValueState, data Data) (Decision, error) {
	grows := int64(len(data.Text) - len(st.Data.Text))
	if st.Version == 0 {
		grows += 160
	}
	if err := c.roomFor(ch.Namespace, &ch.Origin, max(grows, 0)); err != nil {
		return Decision{}, err
	}
	st.Data, st.Version = data, step.Next()
	c.emit(step, &ValuePut{*st})
	c.wakeWatchers(step, watchedValue, name{ch.Namespace, ch.Name})
	return c.keep(step, ch.Namespace, &ch.Origin, brief(st))
}

// AddValue adds to a number. One that is not there is 0.
func (c *Core) AddValue(step *pure.Step, ch *Change, delta Data) (Decision, error) {
	if d, known, err := c.recall(ch.Namespace, &ch.Origin); known {
		return d, err
	}
	st := c.Value(ch.Namespace, ch.Name)
	if err := st.typed(delta.Type); err != nil {
		return Decision{}, err
	}
	if err := c.changeable(ch, &st); err != nil {
		return Decision{}, err
	}
	sum := delta
	sum.Number += st.Data.Number
	sum.Double += st.Data.Double
	overflow := (sum.Number > st.Data.Number) != (delta.Number > 0) && delta.Number != 0
	if overflow || math.IsNaN(sum.Double) {
		return Decision{}, pure.Refuse(pure.ValueRange, "the sum does not fit the value "+ch.Name, "value", ch.Name)
	}
	return c.assign(step, ch, &st, sum)
}

// DeleteValue forgets a value, if it is there.
func (c *Core) DeleteValue(step *pure.Step, ch *Change) (Decision, error) {
	if d, known, err := c.recall(ch.Namespace, &ch.Origin); known {
		return d, err
	}
	st := c.Value(ch.Namespace, ch.Name)
	if err := c.changeable(ch, &st); err != nil {
		return Decision{}, err
	}
	if st.Version != 0 {
		c.emit(step, &ValueDropped{Namespace: ch.Namespace, Name: ch.Name})
		c.wakeWatchers(step, watchedValue, name{ch.Namespace, ch.Name})
	}
	return c.keep(step, ch.Namespace, &ch.Origin, Answer{Outcome: Done})
}

// Comparison is how a value is compared with what is wanted.
type Comparison uint8

// Comparisons.
const (
	Equals  Comparison = 1
	AtLeast Comparison = 2
	AtMost  Comparison = 3
	Newer   Comparison = 4 // than a version, or gone
)

// Until is what of a value is waited for.
type Until struct {
	Comparison Comparison
	Data       Data
	Version    uint64
}

func (u *Until) holds(st *ValueState) bool {
	if u.Comparison == Newer {
		return st.Version > u.Version || st.Version == 0 && u.Version != 0
	}
	if st.Version == 0 || st.Data.Type != u.Data.Type {
		return false
	}
	if u.Comparison == Equals {
		return st.Data == u.Data
	}
	order := cmp.Or(cmp.Compare(st.Data.Number, u.Data.Number), cmp.Compare(st.Data.Double, u.Data.Double),
		cmp.Compare(st.Data.Text, u.Data.Text))
	return u.Comparison == AtLeast && order >= 0 || u.Comparison == AtMost && order <= 0
}

// WaitValue waits until a value is as wanted.
func (c *Core) WaitValue(step *pure.Step, namespace, valueName string, until Until, wait Wait, origin Origin, of session.ID) (Decision, error) {
	st := c.Value(namespace, valueName)
	if until.Comparison != Newer {
		if err := st.typed(until.Data.Type); err != nil {
			return Decision{}, err
		}
	}
	a := valueAnswer(&st)
	if until.holds(&st) {
		return answered(a)
	}
	a.Outcome = TimedOut
	if wait.Try() {
		return answered(a)
	}
	return c.watch(step, &watcher{
		kind: watchedValue, name: name{namespace, valueName}, until: until, origin: origin, session: of,
	}, wait)
}
