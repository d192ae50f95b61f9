package shard

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// CreateQueue makes a queue. The reply is a queue.QueueView.
type CreateQueue struct {
	Namespace, Name string
	Settings        queue.Settings
}

func (c *CreateQueue) run(m *Machine, step *pure.Step) (any, error) {
	if m.diskLow {
		return nil, diskLow()
	}
	if err := m.queue.CreateQueue(step, c.Namespace, c.Name, c.Settings); err != nil {
		return nil, err
	}
	return m.queue.Queue(c.Namespace, c.Name)
}

// Setting is one of a queue's.
type Setting uint8

// Settings of a queue.
const (
	SettingOrder Setting = iota
	SettingMaxSize
	SettingMaxRunning
	SettingMaxRunningPerKey
	SettingRate
	SettingDefaults
)

// UpdateQueue changes some of a queue's settings. The reply is a queue.QueueView.
type UpdateQueue struct {
	Namespace, Name string
	Settings        queue.Settings
	Which           []Setting
}

func (c *UpdateQueue) run(m *Machine, step *pure.Step) (any, error) {
	err := m.queue.UpdateQueue(step, c.Namespace, c.Name, func(s *queue.Settings) {
		for _, which := range c.Which {
			copySetting(s, &c.Settings, which)
		}
	})
	if err != nil {
		return nil, err
	}
	return m.queue.Queue(c.Namespace, c.Name)
}

// SwitchQueue pauses, resumes, closes or reopens a queue. The reply is a queue.QueueView.
type SwitchQueue struct {
	Namespace, Name string
	To              QueueSwitch
}

// QueueSwitch is what becomes of a queue.
type QueueSwitch uint8

// Switches of a queue.
const (
	QueuePaused QueueSwitch = iota
	QueueResumed
	QueueClosed
	QueueClosedAtOnce
	QueueReopened
)

func (c *SwitchQueue) run(m *Machine, step *pure.Step) (any, error) {
	var err error
	switch c.To {
	case QueuePaused, QueueResumed:
		err = m.queue.PauseQueue(step, c.Namespace, c.Name, c.To == QueuePaused)
	case QueueClosed, QueueClosedAtOnce:
		err = m.queue.CloseQueue(step, c.Namespace, c.Name, c.To == QueueClosedAtOnce)
	case QueueReopened:
		err = m.queue.ReopenQueue(step, c.Namespace, c.Name)
	}
	if err != nil {
		return nil, err
	}
	return m.queue.Queue(c.Namespace, c.Name)
}

// PurgeQueue empties a queue. The reply is the number of tasks concerned (uint64).
type PurgeQueue struct {
	Namespace, Name string
	States          []queue.State
}

func (c *PurgeQueue) run(m *Machine, step *pure.Step) (any, error) {
	var in uint32
	for _, s := range c.States {
		in |= 1 << s
	}
	return m.queue.PurgeQueue(step, c.Namespace, c.Name, in)
}

// DeleteQueue removes a queue.
type DeleteQueue struct {
	Namespace, Name string
	Force           bool
}

func (c *DeleteQueue) run(m *Machine, step *pure.Step) (any, error) {
	return nil, m.queue.DeleteQueue(step, c.Namespace, c.Name, c.Force)
}

// JoinQueue waits for the end of all tasks of a queue. The reply is a queue.QueueView.
type JoinQueue struct {
	Namespace, Name string
	Waiter          uint64
}

func (c *JoinQueue) run(m *Machine, step *pure.Step) (any, error) {
	done, err := m.queue.JoinQueue(step, c.Namespace, c.Name, c.Waiter)
	if err != nil {
		return nil, err
	}
	if done {
		return m.queue.Queue(c.Namespace, c.Name)
	}
	m.later(c.Waiter)
	return nil, nil
}

// ForgetJoin ends a [JoinQueue] that still waits; it is answered with the queue as it is.
type ForgetJoin struct{ Waiter uint64 }

func (c *ForgetJoin) run(m *Machine, _ *pure.Step) (any, error) {
	if view, waited, err := m.queue.ForgetJoin(c.Waiter); waited {
		m.answerLater(c.Waiter, view, err)
	}
	return nil, nil
}

// PeekQueue looks at a queue's head. The reply is a []queue.Snapshot.
type PeekQueue struct {
	Namespace, Name string
	Max             int
}

func (c *PeekQueue) run(m *Machine, _ *pure.Step) (any, error) {
	return m.queue.Peek(c.Namespace, c.Name, c.Max)
}

// GetQueue returns a queue (queue.QueueView).
type GetQueue struct{ Namespace, Name string }

func (c *GetQueue) run(m *Machine, _ *pure.Step) (any, error) {
	return m.queue.Queue(c.Namespace, c.Name)
}

// ListQueues returns a page of queues ([QueuePage]).
type ListQueues struct {
	Namespace string
	After     string
	Max       int
}

// QueuePage is a page of queues, and whether there are more.
type QueuePage struct {
	Queues []queue.QueueView
	More   bool
}

func (c *ListQueues) run(m *Machine, _ *pure.Step) (any, error) {
	queues, more := m.queue.Queues(c.Namespace, c.After, c.Max)
	return QueuePage{queues, more}, nil
}

func copySetting(to, from *queue.Settings, which Setting) {
	switch which {
	case SettingOrder:
		to.Order = from.Order
	case SettingMaxSize:
		to.MaxSize = from.MaxSize
	case SettingMaxRunning:
		to.MaxRunning = from.MaxRunning
	case SettingMaxRunningPerKey:
		to.MaxRunningPerKey = from.MaxRunningPerKey
	case SettingRate:
		to.Rate, to.Burst = from.Rate, from.Burst
	case SettingDefaults:
		to.Defaults = from.Defaults
	}
}
