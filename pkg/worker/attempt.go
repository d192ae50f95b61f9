package worker

import (
	"sync/atomic"
	"time"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// attempt is one run of a task. What its handler sees of it is the task.Attempt.
type attempt struct {
	task.Attempt
	worker     *Worker
	payload    task.Payload
	command    *weftv1.Command // for kind "command"
	unreadable error           // a payload that is none
	timeout    time.Duration   // counted from its arrival; 0 is none
	grace      time.Duration   // the task's own
	begun      time.Time       // when it arrived
	called     bool            // its task is one of a call
	ctx        attemptContext
	told       atomic.Bool // it has saved or emitted something
	session    string      // that it was assigned to
	holder     atomic.Pointer[task.Holder]

	// Guarded by Worker.mu.

	stopGrace time.Duration // the shortest asked for, while stopping
	stopping  bool
	late      bool                  // its local grace is over
	lost      bool                  // it is another's, or nobody's: nothing that it says counts
	sealed    bool                  // its handler has returned: no output begins any more
	process   *command.Process      // of a command that runs
	output    *keptOutput           // of a command, or of a handler that has some or is asked for it
	report    *weftv1.AttemptReport // once it has ended
	advance   advance
}

// graceDefault is that of an assignment that names none, as the API says.
const graceDefault = 10 * time.Second

// newAttempt takes over an assignment that arrived at now.
func newAttempt(w *Worker, asg *weftv1.Assignment, now time.Time) *attempt {
	a := &attempt{
		Attempt: task.Attempt{
			TaskID: asg.GetTaskId(),
			Token:  asg.GetToken(),
			Queue:  asg.GetQueue(),
			Kind:   asg.GetKind(),
			Number: asg.GetAttempt(),
			Labels: asg.GetLabels(),
		},
		worker:  w,
		session: w.sessionID(),
		command: asg.GetCommand(),
		grace:   asg.GetGrace().AsDuration(),
		begun:   now,
		called:  asg.GetCalled(),
	}
	a.Runtime = control{a}
	a.ctx.attempt, a.ctx.leaseEnd = &a.Attempt, &w.leaseEnd
	if asg.GetGrace() == nil {
		a.grace = graceDefault
	}
	if asg.GetTimeout() != nil {
		a.timeout = max(asg.GetTimeout().AsDuration(), 1)
	}
	if a.command == nil {
		a.payload, a.unreadable = task.PayloadFromProto(asg.GetPayload())
	}
	a.advance.begin(asg)
	return a
}

// localGrace is how long the attempt may go on after its stream dropped: the broker gives it to others
// after as long.
func (a *attempt) localGrace(dropped time.Time, ttl time.Duration) time.Duration {
	return min(max(dropped.Sub(a.begun)/10, time.Second), ttl)
}
