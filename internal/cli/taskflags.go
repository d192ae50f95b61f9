package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Limits of the API, for words that name them.
const (
	priorityMin         = -32768
	priorityMax         = 32767
	keyBytesMax         = 256
	afterMax            = 100
	workerLabelsMax     = 16
	workerLabelBytesMax = 256
)

// taskFlags are the flags of everything that makes tasks: when, where and beside what they run.
type taskFlags struct {
	priority     int
	at           string
	deadline     string
	after        []string
	afterFailure bool
	unique       string
	key          string
	workerLabels []string
	exclusive    bool
}

// add defines the flags.
func (f *taskFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.priority, "priority", 0, "the least runs first, from -32768 to 32767")
	bounded(flags, "priority", "-32768 to 32767")
	flags.StringVar(&f.unique, "unique", "", "join a task of the same `key`, kind and payload that has not ended")
	flags.StringVar(&f.key, "key", "", "the fairness `key`: tasks of different keys take turns")
	flags.StringArrayVar(&f.workerLabels, "worker-label", nil, "`NAME=VALUE` that the worker must have")
	flags.BoolVar(&f.exclusive, "exclusive", false, "never two attempts at a time, whatever becomes of a worker")
}

// addWhen defines those that are about one task, and mean nothing for a schedule's.
func (f *taskFlags) addWhen(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "not before this `time`: 2006-01-02T15:04:05Z07:00, or a duration from now")
	flags.StringVar(&f.deadline, "deadline", "", "expire what has not ended by this `time`, as with --at")
	flags.StringSliceVar(&f.after, "after", nil, "run once these `tasks` have succeeded; if one does not, this one is cancelled")
	flags.BoolVar(&f.afterFailure, "after-failure", false, "with --after: run whatever becomes of them")
}

// fill checks the flags and sets them in a task.
func (f *taskFlags) fill(spec *client.Spec) (err error) {
	if f.priority < priorityMin || f.priority > priorityMax {
		return Usage("--priority %d: %d to %d are possible", f.priority, priorityMin, priorityMax)
	}
	if spec.WorkerLabels, err = f.labels(); err != nil {
		return err
	}
	now := time.Now()
	if f.at != "" {
		if spec.RunAt, err = parseMoment("--at", f.at, now, 1); err != nil {
			return err
		}
	}
	if f.deadline != "" {
		if spec.Deadline, err = parseMoment("--deadline", f.deadline, now, 1); err != nil {
			return err
		}
		if !spec.Deadline.After(now) {
			return Usage("--deadline %s: that is over", shorten(f.deadline))
		}
		if err := checkDeadline(spec, f.deadline, "--at"); err != nil {
			return err
		}
	}
	if len(f.after) > afterMax {
		return Usage("--after: %d tasks, at most %d are possible", len(f.after), afterMax)
	}
	for _, id := range f.after {
		if !taskID.MatchString(id) {
			return Usage("--after %s: not the name of a task", shorten(id))
		}
	}
	if f.afterFailure {
		if len(f.after) == 0 {
			return Usage("--after-failure needs --after")
		}
		spec.OnDependencyFailure = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
	}
	spec.Priority, spec.After, spec.Exclusive = f.priority, client.AfterTasks(f.after...), f.exclusive
	spec.UniqueKey, spec.FairnessKey = f.unique, f.key
	if err := checkKey("--unique", f.unique); err != nil {
		return err
	}
	return checkKey("--key", f.key)
}

// checkDeadline refuses a deadline by which a task could not have begun; flag says when it may.
func checkDeadline(spec *client.Spec, deadline, flag string) error {
	if spec.RunAt.IsZero() || spec.Deadline.IsZero() || spec.Deadline.After(spec.RunAt) {
		return nil
	}
	return Usage("--deadline %s: that is not after %s, and the task could never run", shorten(deadline), flag)
}

func (f *taskFlags) labels() (map[string]string, error) {
	m, err := parsePairs("--worker-label", f.workerLabels)
	if err != nil {
		return nil, err
	}
	if len(m) > workerLabelsMax {
		return nil, Usage("--worker-label: %d labels, at most %d are possible", len(m), workerLabelsMax)
	}
	for k, v := range m {
		if !plainName(k) || len(v) > workerLabelBytesMax {
			return nil, Usage("--worker-label %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-], a value at most %d bytes",
				shorten(k+"="+v), workerLabelBytesMax)
		}
	}
	return m, nil
}

// checkKey refuses a key that a task cannot have.
func checkKey(flag, key string) error {
	if len(key) > keyBytesMax {
		return Usage("%s: %d bytes, at most %d are possible", flag, len(key), keyBytesMax)
	}
	return checkText(flag, key)
}

// plainName reports whether a text is what queues, kinds and labels may be called.
func plainName(s string) bool {
	const bytesMax = 256
	return s != "" && len(s) <= bytesMax && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-", r))
	}) < 0
}

// checkName refuses a name that nothing can have; empty is the default.
func checkName(flag, name string) error {
	if name == "" || plainName(name) {
		return nil
	}
	return Usage("%s %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", flag, shorten(name))
}

// momentLayouts are how a moment can be spelled, in local time but for the first.
var momentLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// parseMoment reads a moment, or a duration from now: into the future with a sign of 1, into the past with -1.
func parseMoment(flag, text string, now time.Time, sign time.Duration) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 {
			return time.Time{}, Usage("%s %s: a duration must not be negative", flag, shorten(text))
		}
		return now.Add(sign * d), nil
	}
	for _, layout := range momentLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Usage("%s %s: neither a time such as 2006-01-02T15:04:05Z nor a duration such as 90m", flag, shorten(text))
}
