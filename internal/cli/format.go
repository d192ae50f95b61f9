package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// format is how something is printed.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatName  format = "name"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	switch v := format(s); v {
	case formatTable, formatJSON, formatName:
		*f = v
		return nil
	default:
		return errors.New("none of table, json, name")
	}
}

// printJSON prints a message as one line of JSON.
func (a *App) printJSON(m proto.Message) error {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	_, err = fmt.Fprintln(a.Out, string(b))
	return err
}

// table prints rows in columns.
type table struct{ w *tabwriter.Writer }

// newTable begins a table with its head.
func newTable(to io.Writer, head ...string) *table {
	t := &table{tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

// row adds a row.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// end prints it.
func (t *table) end() error { return t.w.Flush() }

// stateWord is a state for people: running.
func stateWord(s weftv1.TaskState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), statePrefix))
}

// endWord is an attempt's end for people: worker_lost.
func endWord(e weftv1.AttemptEnd) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), "ATTEMPT_END_"))
}

// statePrefix is what a state begins with in JSON.
const statePrefix = "TASK_STATE_"

// parseState reads a state, in a table's spelling or in JSON's.
func parseState(word string) (weftv1.TaskState, error) {
	n := weftv1.TaskState_value[statePrefix+strings.TrimPrefix(strings.ToUpper(word), statePrefix)]
	if n == 0 {
		return 0, Usage("--state %s: none of %s", shorten(word), strings.Join(stateWords(), ", "))
	}
	return weftv1.TaskState(n), nil
}

// stateWords are all states.
func stateWords() []string {
	var words []string
	for _, n := range slices.Sorted(maps.Keys(weftv1.TaskState_name)) {
		if n != 0 {
			words = append(words, stateWord(weftv1.TaskState(n)))
		}
	}
	return words
}

// age is how long ago something was, for people.
func age(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return ""
	}
	return shortDuration(now.Sub(t.AsTime()))
}

// shortDuration is a duration in its largest unit.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// sortedKeys are a map's keys in order.
func sortedKeys(m map[string]string) []string {
	return slices.Sorted(maps.Keys(m))
}
