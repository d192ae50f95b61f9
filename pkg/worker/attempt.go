package worker

import (
	"time"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Attempt is one run of a task, as its handler sees it.
type Attempt struct {
	// TaskID is the broker's name for the task.
	TaskID string
	// Token is the fencing number of this attempt: every later attempt, of any task of the namespace,
	// has a higher one.
	Token uint64
	// Queue that the task came from.
	Queue string
	// Kind of the task.
	Kind string
	// Number is 1 for the task's first attempt.
	Number uint32
	// Labels of the task; not to be changed.
	Labels map[string]string
	// Payload is the task's input; its bytes are not to be changed.
	Payload task.Payload

	command    *weftv1.Command // for kind "command"
	output     *keptOutput     // of the command
	unreadable error           // a payload that is none
	timeout    time.Duration   // counted from its arrival; 0 is none
	grace      time.Duration   // the task's own
	begun      time.Time       // when it arrived
	ctx        attemptContext

	// Guarded by Worker.mu.

	stopGrace time.Duration // the shortest asked for, while stopping
	stopping  bool
	late      bool                  // its local grace is over
	process   *command.Process      // of a command that runs
	report    *weftv1.AttemptReport // once it has ended
}

// graceDefault is that of an assignment that names none, as the API says.
const graceDefault = 10 * time.Second

// newAttempt takes over an assignment that arrived at now.
func newAttempt(asg *weftv1.Assignment, now time.Time) *Attempt {
	a := &Attempt{
		TaskID:  asg.GetTaskId(),
		Token:   asg.GetToken(),
		Queue:   asg.GetQueue(),
		Kind:    asg.GetKind(),
		Number:  asg.GetAttempt(),
		Labels:  asg.GetLabels(),
		command: asg.GetCommand(),
		grace:   asg.GetGrace().AsDuration(),
		begun:   now,
	}
	if asg.GetGrace() == nil {
		a.grace = graceDefault
	}
	if asg.GetTimeout() != nil {
		a.timeout = max(asg.GetTimeout().AsDuration(), 1)
	}
	if a.command == nil {
		a.Payload, a.unreadable = task.PayloadFromProto(asg.GetPayload())
	}
	return a
}

// localGrace is how long the attempt may go on after its stream dropped: the broker gives it to others
// after as long.
func (a *Attempt) localGrace(dropped time.Time, ttl time.Duration) time.Duration {
	return min(max(dropped.Sub(a.begun)/10, time.Second), ttl)
}
