package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// sheet prints names and values below each other, and leaves out what is empty.
type sheet struct{ w *tabwriter.Writer }

func (s *sheet) line(name, value string) {
	if value != "" {
		fmt.Fprintf(s.w, "%s:\t%s\n", name, value)
	}
}

// showTask prints a task for people.
func (a *App) showTask(t *weftv1.Task) error {
	s := &sheet{tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)}
	s.line("task", t.GetId())
	s.line("state", stateWord(t.GetState()))
	s.line("queue", orDefault(t.GetSpec().GetQueue()))
	s.line("kind", orCommand(t.GetSpec().GetKind()))
	s.work(t.GetSpec())
	s.line("created", moment(t.GetCreatedAt()))
	s.line("scheduled", moment(t.GetScheduledAt()))
	s.dispatch(t)
	s.line("attempts", fmt.Sprint(t.GetAttempts()))
	if n := t.GetWorkersLost(); n > 0 {
		s.line("workers lost", fmt.Sprint(n))
	}
	s.attempts(t)
	if p := t.GetProgress(); p != nil {
		s.line("progress", progressText(p))
	}
	if c, err := task.PayloadFromProto(t.GetCheckpoint().GetState()); err == nil && t.GetCheckpoint() != nil {
		s.line("checkpoint", payloadText(c))
	}
	if n := t.GetPartialsCount(); n > 0 {
		s.line("partial results", fmt.Sprint(n))
	}
	if len(t.GetEarlierAttempts()) == 0 {
		s.line("last error", errorText(t.GetLastError()))
	}
	if t.GetCallId() != "" {
		s.line("call", fmt.Sprintf("%s, index %d", t.GetCallId(), t.GetCallIndex()))
	}
	for _, k := range sortedKeys(t.GetSpec().GetLabels()) {
		s.line("label", k+"="+t.GetSpec().GetLabels()[k])
	}
	if o := t.GetOutcome(); o != nil {
		s.outcome(o)
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	return a.showOutput(t.GetOutcome().GetCommand())
}

// workText is what a task is to do, in a line.
func workText(spec *weftv1.TaskSpec) string {
	if c := spec.GetCommand(); c != nil {
		return quoteArgs(c.GetArgv())
	}
	p, err := task.PayloadFromProto(spec.GetPayload())
	if err != nil {
		return ""
	}
	return payloadText(p)
}

// dispatch prints when, where and beside what a task runs.
func (s *sheet) dispatch(t *weftv1.Task) {
	spec := t.GetSpec()
	if p := spec.GetPriority(); p != 0 {
		s.line("priority", fmt.Sprint(p))
	}
	s.line("deadline", moment(spec.GetDeadline()))
	s.line("after", strings.Join(spec.GetAfter(), " "))
	s.line("waits for", strings.Join(t.GetWaitsFor(), " "))
	s.line("unique key", spec.GetUniqueKey())
	s.line("joined", t.GetJoinedTaskId())
	s.line("fairness key", spec.GetFairnessKey())
	for _, k := range sortedKeys(spec.GetWorkerLabels()) {
		s.line("worker label", k+"="+spec.GetWorkerLabels()[k])
	}
	s.retries(spec.GetRetry())
	if spec.GetExclusive() {
		s.line("exclusive", "yes")
	}
}

// attempts prints the attempts that are known, each with its end and its error, and the one that runs.
func (s *sheet) attempts(t *weftv1.Task) {
	first := int(t.GetAttempts()) - len(t.GetEarlierAttempts()) + 1
	if t.GetAttempt() != nil || t.GetOutcome().GetToken() != 0 {
		first-- // the last one is not among them
	}
	for i, x := range t.GetEarlierAttempts() {
		s.attempt(first+i, endWord(x.GetEnd()), x.GetWorker(), x.GetStartedAt(), x.GetError())
	}
	last := int(t.GetAttempts())
	if x := t.GetAttempt(); x != nil {
		s.attempt(last, stateWord(t.GetState()), x.GetWorker(), x.GetStartedAt(), nil)
	} else if o := t.GetOutcome(); o.GetToken() != 0 {
		s.attempt(last, endWord(o.GetEnd()), o.GetWorker(), o.GetStartedAt(), o.GetError())
	}
}

// attempt prints one.
func (s *sheet) attempt(number int, end, worker string, started *timestamppb.Timestamp, err *weftv1.TaskError) {
	text := fmt.Sprintf("%s on %s, %s", end, worker, moment(started))
	if e := errorText(err); e != "" {
		text += ": " + e
	}
	s.line(fmt.Sprintf("attempt %d", number), text)
}

// retries prints how often and when something is tried again. The broker's defaults are not given.
func (s *sheet) retries(r *weftv1.RetryPolicy) {
	if r.GetAttemptsMax() <= 1 {
		return
	}
	s.line("retries", fmt.Sprint(r.GetAttemptsMax()-1))
	if d := r.GetInitialBackoff(); d != nil {
		s.line("backoff", d.AsDuration().String())
	}
	if d := r.GetBackoffMax(); d != nil {
		s.line("backoff max", d.AsDuration().String())
	}
	if m := r.GetMultiplier(); m != 0 {
		s.line("multiplier", fmt.Sprint(m))
	}
	const jitterDefault = 0.2
	if j := r.GetJitter(); j != 0 && j != jitterDefault {
		s.line("jitter", fmt.Sprint(j))
	}
}

// work prints what a task is to do.
func (s *sheet) work(spec *weftv1.TaskSpec) {
	if c := spec.GetCommand(); c != nil {
		s.line("command", quoteArgs(c.GetArgv()))
		s.line("directory", c.GetDir())
		return
	}
	if p, err := task.PayloadFromProto(spec.GetPayload()); err == nil && spec.GetPayload() != nil {
		s.line("payload", payloadText(p))
	}
}

// outcome prints how a task ended.
func (s *sheet) outcome(o *weftv1.Outcome) {
	s.line("error", errorText(o.GetError()))
	s.line("finished", moment(o.GetFinishedAt()))
	if r := o.GetCommand(); r != nil {
		s.line("exit code", fmt.Sprint(r.GetExitCode()))
		s.line("signal", r.GetSignal())
		s.line("cpu time", (r.GetUserTime().AsDuration() + r.GetSystemTime().AsDuration()).String())
		return
	}
	if p, err := task.PayloadFromProto(o.GetPayload()); err == nil && o.GetPayload() != nil {
		s.line("result", payloadText(p))
	}
}

// showOutput prints a command's captured output.
func (a *App) showOutput(r *weftv1.CommandResult) error {
	for _, o := range []struct {
		name string
		from *weftv1.CapturedOutput
	}{{"stdout", r.GetStdout()}, {"stderr", r.GetStderr()}} {
		if o.from.GetBytesTotal() == 0 {
			continue
		}
		more := ""
		if o.from.GetTruncated() {
			more = fmt.Sprintf(", the first %d", len(capturedBytes(o.from)))
		}
		fmt.Fprintf(a.Out, "--- %s, %s%s\n", o.name, plural(o.from.GetBytesTotal(), "byte", "bytes"), more)
		if _, err := a.Out.Write(capturedBytes(o.from)); err != nil {
			return err
		}
	}
	return nil
}

// errorText is a task's error for people.
func errorText(e *weftv1.TaskError) string {
	if e == nil {
		return ""
	}
	return strings.TrimSuffix(e.GetReason()+": "+e.GetMessage(), ": ")
}

// payloadText is a payload for people.
func payloadText(p task.Payload) string {
	const bytesMax = 2000
	switch {
	case !p.IsText():
		return plural(p.Len(), "byte", "bytes")
	case p.Len() > bytesMax:
		return strings.ToValidUTF8(p.String()[:bytesMax], "") + " …"
	default:
		return p.String()
	}
}

// moment is a time for people.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Local().Format(time.RFC3339)
}

// quoteArgs is a command line that a shell would read the same.
func quoteArgs(argv []string) string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = quoteArg(arg)
	}
	return strings.Join(out, " ")
}

// quoteArg quotes an argument that needs it.
func quoteArg(arg string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:=@%+,-", r)
	}
	if arg != "" && strings.IndexFunc(arg, func(r rune) bool { return !plain(r) }) < 0 {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
