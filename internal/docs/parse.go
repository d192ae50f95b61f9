package docs

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// api is what the documents need of the .proto files. The comments are why it is read from the sources:
// the generated Go has none of them.
type api struct {
	services []service
	about    string // the comment of ErrorReason
	reasons  []reason
}

type service struct {
	name    string
	comment string
	methods []method
}

type method struct {
	name         string
	input        string
	output       string
	inputStream  bool
	outputStream bool
	comment      string // without its errors
	errors       string
}

type reason struct {
	name    string // without the enum's prefix
	code    string // canonical
	comment string // without the code
}

var (
	serviceLine = regexp.MustCompile(`^service (\w+) \{$`)
	methodLine  = regexp.MustCompile(`^rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);$`)
	reasonLine  = regexp.MustCompile(`^ERROR_REASON_(\w+) = \d+;$`)
	codeWord    = regexp.MustCompile(`^\[([A-Z_]+)\] ?(.*)$`)
)

// parse reads the .proto files of a directory.
func parse(protos fs.FS) (*api, error) {
	files, err := fs.Glob(protos, "*.proto")
	if err != nil {
		return nil, err
	}
	a := &api{}
	for _, name := range files {
		if err := a.parseFile(protos, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(a.services) == 0 || len(a.reasons) == 0 {
		return nil, fmt.Errorf("%d services and %d reasons", len(a.services), len(a.reasons))
	}
	return a, nil
}

func (a *api) parseFile(protos fs.FS, name string) error {
	source, err := fs.ReadFile(protos, name)
	if err != nil {
		return err
	}
	var comment []string
	for line := range strings.Lines(string(source)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "//"); ok {
			comment = append(comment, strings.TrimSpace(text))
			continue
		}
		if err := a.parseLine(line, strings.Join(comment, "\n")); err != nil {
			return err
		}
		comment = nil
	}
	return nil
}

// parseLine takes a line that is no comment, with the comment above it.
func (a *api) parseLine(line, comment string) error {
	if m := serviceLine.FindStringSubmatch(line); m != nil {
		a.services = append(a.services, service{name: m[1], comment: comment})
		return nil
	}
	if line == "enum ErrorReason {" {
		a.about = comment
		return nil
	}
	if m := methodLine.FindStringSubmatch(line); m != nil {
		s := &a.services[len(a.services)-1]
		about, errors, _ := strings.Cut(comment, "Errors: ")
		s.methods = append(s.methods, method{
			name: m[1], inputStream: m[2] != "", input: m[3], outputStream: m[4] != "", output: m[5],
			comment: strings.TrimSpace(about), errors: strings.Join(strings.Fields(errors), " "),
		})
		return nil
	}
	if m := reasonLine.FindStringSubmatch(line); len(m) == 2 && m[1] != "UNSPECIFIED" {
		code := codeWord.FindStringSubmatch(strings.Join(strings.Fields(comment), " "))
		if code == nil {
			return fmt.Errorf("%s: its comment does not begin with a code", m[1])
		}
		a.reasons = append(a.reasons, reason{name: m[1], code: code[1], comment: code[2]})
	}
	return nil
}
