package client

import weftv1 "github.com/weftq/weft/proto/weft/v1"

// The window until the broker has told its own.
const (
	windowTasksMax = 100_000
	windowBytesMax = 64 << 20
)

// window counts what the broker holds for the call and was not acknowledged: tasks, and their payloads'
// and results' bytes. An acknowledgement counts when it is queued, because it leaves before or with the
// tasks that take its room.
type window struct {
	tasks, tasksMax int
	bytes, bytesMax int
	waiters         int           // submitters that wait for room
	roomC           chan struct{} // has room for one sign, which a waiter passes on
}

func newWindow() window {
	return window{tasksMax: windowTasksMax, bytesMax: windowBytesMax, roomC: make(chan struct{}, 1)}
}

// limit takes over the broker's limits.
func (w *window) limit(m *weftv1.ExecuteAttached) {
	if n := m.GetUnacknowledgedTasksMax(); n > 0 {
		w.tasksMax = int(n)
	}
	if n := m.GetUnacknowledgedBytesMax(); n > 0 {
		w.bytesMax = int(min(n, 1<<40)) //nolint:gosec // bounded right here
	}
	w.pass()
}

// fits reports whether there is room for a task. One that is larger than the whole window goes alone.
func (w *window) fits(size int) bool {
	return w.tasks < w.tasksMax && (w.bytes+size <= w.bytesMax || w.tasks == 0)
}

// take gives the room to a task.
func (w *window) take(size int) {
	w.tasks++
	w.bytes += size
}

// grow adds the bytes of a result.
func (w *window) grow(size int) { w.bytes += size }

// give takes the room back.
func (w *window) give(size int) {
	w.tasks--
	w.bytes -= size
	w.pass()
}

// pass wakes one waiter, who looks for itself and passes on.
func (w *window) pass() {
	if w.waiters == 0 {
		return
	}
	select {
	case w.roomC <- struct{}{}:
	default:
	}
}
