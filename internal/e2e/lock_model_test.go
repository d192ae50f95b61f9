//go:build linux

package e2e

import "github.com/anishathalye/porcupine"

// who is a client in a history: a process, until its session was lost.
type who struct {
	process string
	epoch   int
}

// asked is a step of somebody.
type asked struct {
	who
	step
}

// lockModel is a lock: who has it, by which token, and the highest token of all grants that are known. What somebody who is gone has
// got has a token that nobody knows.
type lockModel struct {
	holder  who
	token   uint64
	highest uint64
}

func (m lockModel) step(in asked, out step) []any {
	free := m.holder == who{}
	released := lockModel{highest: m.highest}
	switch in.Kind {
	case stepAcquire, stepTry:
		switch {
		case out.Unknown && free:
			return []any{m, lockModel{holder: in.who, highest: m.highest}}
		case out.Unknown:
			return []any{m}
		case !out.OK && !free:
			return []any{m}
		case out.OK && free && out.Token > m.highest:
			return []any{lockModel{in.who, out.Token, out.Token}}
		}
	case stepRelease:
		switch {
		case out.Unknown && m.holder == in.who:
			return []any{m, released}
		case out.Unknown:
			return []any{m}
		case out.OK && m.holder == in.who && m.token == in.Token:
			return []any{released}
		}
	case stepCheck:
		if out.Unknown || out.OK == (!free && m.token == in.Token) {
			return []any{m}
		}
	case stepExpire:
		if m.holder == in.who {
			return []any{released}
		}
		return []any{m}
	}
	return nil
}

// semaphoreModel is who has how many permits of a semaphore; up to 8 clients at a time.
type semaphoreModel [8]struct {
	who
	permits int64
}

func (m semaphoreModel) available() int64 {
	n := int64(permitsAll)
	for _, h := range m {
		n -= h.permits
	}
	return n
}

// with gives a client so many, in the order of the clients, so that equal states are equal.
func (m semaphoreModel) with(client who, permits int64) semaphoreModel {
	var out semaphoreModel
	i := 0
	put := func(w who, n int64) {
		if n > 0 {
			out[i].who, out[i].permits = w, n
			i++
		}
	}
	before := func(x, y who) bool { return x.process < y.process || x.process == y.process && x.epoch < y.epoch }
	done := false
	for _, h := range m {
		if h.permits == 0 {
			break
		}
		if !done && before(client, h.who) {
			put(client, permits)
			done = true
		}
		if h.who != client {
			put(h.who, h.permits)
		}
	}
	if !done {
		put(client, permits)
	}
	return out
}

func (m semaphoreModel) of(client who) int64 {
	for _, h := range m {
		if h.who == client {
			return h.permits
		}
	}
	return 0
}

func (m semaphoreModel) step(in asked, out step) []any {
	switch in.Kind {
	case stepAcquire, stepTry:
		fits := m.available() >= in.N && m.of(in.who) == 0
		switch {
		case out.Unknown && fits:
			return []any{m, m.with(in.who, in.N)}
		case out.Unknown:
			return []any{m}
		case out.OK && fits:
			return []any{m.with(in.who, in.N)}
		case !out.OK && m.available() < 2: // somebody may wait for as many as anybody asks for, and is not overtaken
			return []any{m}
		}
	case stepRelease:
		switch {
		case out.Unknown:
			return []any{m, m.with(in.who, 0)}
		case out.OK && m.of(in.who) == in.N:
			return []any{m.with(in.who, 0)}
		}
	case stepExpire:
		return []any{m.with(in.who, 0)}
	}
	return nil
}

// valueModel is a number, and its version: not known after a change that does not tell it, but higher than the one before.
type valueModel struct {
	value   int64
	version uint64
	hidden  bool
}

// has tells whether the version may be that.
func (m valueModel) has(version uint64) bool {
	if m.hidden {
		return version > m.version
	}
	return version == m.version
}

func (m valueModel) step(in asked, out step) []any {
	switch in.Kind {
	case stepAdd:
		added := valueModel{m.value + in.N, m.version, true}
		switch {
		case out.Unknown:
			return []any{m, added}
		case out.Value == added.value:
			return []any{added}
		}
	case stepCAS:
		version := uint64(out.N) //nolint:gosec // it was one
		switch {
		case out.Unknown && m.has(in.Version):
			return []any{m, valueModel{in.Value, in.Version, true}}
		case out.Unknown:
			return []any{m}
		case out.OK && m.has(in.Version) && version > in.Version:
			return []any{valueModel{in.Value, version, false}}
		case !out.OK && (m.hidden || !m.has(in.Version)):
			return []any{m}
		}
	case stepGet:
		switch {
		case out.Unknown:
			return []any{m}
		case out.Value == m.value && m.has(out.Version):
			return []any{valueModel{m.value, out.Version, false}}
		}
	case stepExpire:
		return []any{m}
	}
	return nil
}

// eventModel is whether an event is set.
type eventModel bool

func (m eventModel) step(in asked, out step) []any {
	var to eventModel
	switch in.Kind {
	case stepSet:
		to = true
	case stepClear:
		to = false
	case stepExpire:
		return []any{m}
	default:
		if out.Unknown || out.OK == bool(m) {
			return []any{m}
		}
		return nil
	}
	if out.Unknown {
		return []any{m, to}
	}
	return []any{to}
}

// modelled is a model.
type modelled interface {
	step(asked, step) []any
}

// lockModels are the models of the histories.
func lockModels() map[string]porcupine.Model {
	models := make(map[string]porcupine.Model)
	for kind, begin := range map[string]modelled{
		historyLock: lockModel{}, historySemaphore: semaphoreModel{}, historyValue: valueModel{}, historyEvent: eventModel(false),
	} {
		model := &porcupine.NondeterministicModel{
			Init: func() []any { return []any{begin} },
			Step: func(state, input, output any) []any {
				return state.(modelled).step(input.(asked), output.(step)) //nolint:forcetypeassert // nothing else is put in
			},
		}
		models[kind] = model.ToModel()
	}
	return models
}
