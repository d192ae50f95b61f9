package cli

import (
	"errors"

	"github.com/spf13/pflag"
)

// boundsNote is where a flag has its bounds, for words that name them.
const boundsNote = "bounds"

// bounded says which values a flag of a number takes.
func bounded(flags *pflag.FlagSet, name, bounds string) {
	_ = flags.SetAnnotation(name, boundsNote, []string{bounds}) // the caller has just defined it
}

// flagError is a mistake in a flag in plain words: which flag, what was given, and what it takes.
func flagError(err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return Usage("%w", err)
	}
	flag, value, bounds := bad.GetFlag(), shorten(bad.GetValue()), ""
	if note := flag.Annotations[boundsNote]; len(note) > 0 {
		bounds = " from " + note[0]
	}
	switch flag.Value.Type() {
	case "int", "int32", "int64", "uint", "uint32", "uint64":
		return Usage("--%s %s: not a whole number%s", flag.Name, value, bounds)
	case "float64":
		return Usage("--%s %s: not a number%s", flag.Name, value, bounds)
	case "duration":
		return Usage("--%s %s: not a duration such as 500ms, 90s or 2h30m", flag.Name, value)
	case "bool":
		return Usage("--%s=%s: neither true nor false", flag.Name, value)
	default:
		return Usage("--%s %s: %w", flag.Name, value, bad.Unwrap())
	}
}
