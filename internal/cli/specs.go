package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"strings"

	"github.com/weftq/weft/pkg/client"
)

// specs turns inputs into tasks. One that cannot be sent fails alone.
func (m *mapping) specs(inputs iter.Seq[string]) iter.Seq[client.Spec] {
	return func(yield func(client.Spec) bool) {
		for text := range inputs {
			in := m.next(text)
			spec, err := m.task(text)
			if err != nil {
				if !m.reject(in, err) {
					return
				}
				continue
			}
			if !m.remember(in) || !yield(spec) {
				return
			}
			if m.cancelLate() {
				return
			}
		}
	}
}

// reject counts an input that cannot be sent as failed, and returns whether the others go on. Those of a
// named map do not: without this one they would have other places when it is run again.
func (m *mapping) reject(in input, err error) bool {
	if m.flags.name != "" {
		m.fail(fmt.Errorf("%v: %w (mend it and run the same again)", in, err))
		return false
	}
	m.say("%v: %v", in, err)
	m.count(true)
	if m.flags.failFast {
		m.stop(errFailFast)
	}
	return !m.flags.failFast
}

// task is the task of an input.
func (m *mapping) task(text string) (client.Spec, error) {
	spec := m.spec
	var stdin []byte
	if m.flags.stdinFile != "" {
		var err error
		if stdin, err = readFile(strings.ReplaceAll(m.flags.stdinFile, placeholder, text)); err != nil {
			return spec, err
		}
	}
	argv := m.arguments(text)
	if err := checkArgs(argv); err != nil {
		return spec, err
	}
	spec.Command = withArgs(m.spec.Command, argv, stdin)
	spec.Labels = withInput(m.spec.Labels, text)
	return spec, checkSize(spec.Command)
}

// arguments puts an input into the command's arguments. In a line for the shell it is quoted: a file's name
// must not become a command.
func (m *mapping) arguments(input string) []string {
	argv := substitute(m.argv, input, m.flags.stdinFile == "")
	if m.spec.Command.GetShell() && len(m.argv) > 0 {
		argv[0] = strings.ReplaceAll(m.argv[0], placeholder, quoteArg(input))
	}
	return argv
}

// inputLabel keeps the input with its task, for people who look.
const inputLabel = "input"

// withInput adds the input's label, shortened to what a label can hold.
func withInput(labels map[string]string, input string) map[string]string {
	const bytesMax = 256
	out := map[string]string{inputLabel: strings.ToValidUTF8(input[:min(len(input), bytesMax)], "")}
	maps.Copy(out, labels)
	return out
}

// readFile reads a file that goes along as standard input.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, shortPath("open", path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := readStdin(f)
	if err != nil {
		return nil, shortPath("read", path, err)
	}
	return data, nil
}

// shortPath is an error of a file, whose name can be as long as its input.
func shortPath(op, path string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s %s: %w", op, shorten(path), err)
}
