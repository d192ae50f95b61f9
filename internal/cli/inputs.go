package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// placeholder stands for the input in the arguments of map.
const placeholder = "{}"

// inputMark separates the command of map from its inputs.
const inputMark = ":::"

// lineBytesMax is the longest input.
const lineBytesMax = 1 << 20

// splitInputs takes the inputs behind ":::" off the arguments; there are none without it.
func splitInputs(args []string) (command, inputs []string, given bool, err error) {
	i := slices.Index(args, inputMark)
	if i < 0 {
		return args, nil, false, nil
	}
	if slices.Contains(args[i+1:], inputMark) {
		return nil, nil, false, Usage("map: more than one %s", inputMark)
	}
	return args[:i], args[i+1:], true, nil
}

// substitute puts an input into a command's arguments: in place of every {}, or, if there is none and it is
// to be an argument at all, behind them.
func substitute(argv []string, input string, argument bool) []string {
	out := make([]string, len(argv), len(argv)+1)
	found := false
	for i, arg := range argv {
		found = found || strings.Contains(arg, placeholder)
		out[i] = strings.ReplaceAll(arg, placeholder, input)
	}
	if !found && argument {
		out = append(out, input)
	}
	return out
}

// readInputs gives the lines of r, or its parts between NUL bytes; failed is told when reading fails.
func readInputs(r io.Reader, nul bool, failed func(error)) iter.Seq[string] {
	return func(yield func(string) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, lineBytesMax)
		if nul {
			lines.Split(splitNUL)
		}
		for lines.Scan() {
			if !yield(lines.Text()) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			failed(fmt.Errorf("an input is longer than %d bytes", lineBytesMax))
		} else if err != nil {
			failed(fmt.Errorf("read inputs: %w", err))
		}
	}
}

// splitNUL is a bufio.SplitFunc for parts that end with a NUL byte.
func splitNUL(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
