package docs

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Page is a document that comes from the .proto files.
type Page struct {
	Path string // from the repository's root
	Text []byte
}

// Pages writes the documents that come from the .proto files of a directory.
func Pages(protos fs.FS) ([]Page, error) {
	a, err := parse(protos)
	if err != nil {
		return nil, err
	}
	grpc, err := a.grpcPage()
	if err != nil {
		return nil, err
	}
	return []Page{
		{"docs/errors.md", []byte(a.errorsPage())},
		{"docs/grpc.md", []byte(grpc)},
	}, nil
}

const generated = "<!-- Written by internal/docs from proto/weft/v1; change the comments there and run make generate. -->\n\n"

// errorsPage lists the reasons for errors.
func (a *api) errorsPage() string {
	var b strings.Builder
	b.WriteString("# Errors\n\n" + generated)
	b.WriteString(paragraphs(strings.ReplaceAll(a.about, "The code stands in brackets here.", "")) + "\n\n")
	b.WriteString("| reason | code | meaning |\n|---|---|---|\n")
	for _, r := range a.reasons {
		fmt.Fprintf(&b, "| <a id=%q></a>`%s` | `%s` | %s |\n", anchor(r.name), r.name, r.code, meaning(r.comment))
	}
	return b.String()
}

// meaning marks what a reason's metadata has.
func meaning(comment string) string {
	text, metadata, ok := strings.Cut(comment, "metadata: ")
	if !ok {
		return comment
	}
	text = strings.TrimSuffix(strings.TrimSpace(text), ";")
	if text == "" {
		return "Metadata: " + metadata
	}
	return strings.TrimSuffix(text, ".") + ". Metadata: " + metadata
}

func anchor(reason string) string { return strings.ToLower(strings.ReplaceAll(reason, "_", "-")) }

// grpcPage lists the RPCs.
func (a *api) grpcPage() (string, error) {
	var b strings.Builder
	b.WriteString("# Every RPC\n\n" + generated)
	b.WriteString(grpcIntro)
	for _, s := range a.byImportance() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.name, paragraphs(s.comment))
		for i := range s.methods {
			if err := a.writeMethod(&b, s.name, &s.methods[i]); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

const grpcIntro = `Reflection is on, so grpcurl needs no .proto file: ` + "`grpcurl -plaintext 127.0.0.1:9338 describe weft.v1.Task`" + `
shows a message with the comments left out; they are in [proto/weft/v1](../proto/weft/v1). JSON takes
field names in either spelling, ` + "`task_id` or `taskId`" + `. Numbers of 64 bits, tokens for one, are strings in it,
durations look like ` + "`\"1.5s\"`" + `, moments like ` + "`\"2030-01-31T12:00:00Z\"`" + `, and bytes are base64.
A field that is not shown has its zero value: an exit code of 0, for one.

The ids and tokens below are made up; take those that your broker gave you. [The README](../README.md#with-grpcurl)
has sessions that work when pasted.

Beside the errors that are listed, every RPC can fail with
[INVALID_FIELD](errors.md#invalid-field), [NOT_READY](errors.md#not-ready), [TERM_ENDED](errors.md#term-ended),
[REQUEST_POISONED](errors.md#request-poisoned) and [INTERNAL](errors.md#internal). ReserveTasks can also fail with
[OVERLOADED](errors.md#overloaded), when 10,000 others wait at its queue. Health is at ` + "`grpc.health.v1.Health/Check`" + `.
`

// byImportance puts the service of tasks first; the others come by name.
func (a *api) byImportance() []service {
	rank := func(s service) string {
		if s.name == "TaskService" {
			return ""
		}
		return s.name
	}
	return slices.SortedFunc(slices.Values(a.services), func(x, y service) int { return strings.Compare(rank(x), rank(y)) })
}

func (a *api) writeMethod(b *strings.Builder, service string, m *method) error {
	requests, ok := examples[service+"/"+m.name]
	if !ok {
		return fmt.Errorf("%s/%s has no example: add one to internal/docs/examples.go", service, m.name)
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", m.name, paragraphs(m.comment))
	fmt.Fprintf(b, "`%s` → `%s`\n\n", streamed(m.input, m.inputStream), streamed(m.output, m.outputStream))
	data := ""
	if all := strings.Join(requests, " "); all != "{}" {
		data = "-d '" + all + "' "
	}
	fmt.Fprintf(b, "```sh\ngrpcurl -plaintext %s127.0.0.1:9338 weft.v1.%s/%s\n```\n", data, service, m.name)
	if m.errors != "" {
		fmt.Fprintf(b, "\nErrors: %s\n", a.link(m.errors))
	}
	return nil
}

func streamed(message string, stream bool) string {
	if stream {
		return "stream " + message
	}
	return message
}

var upperWord = regexp.MustCompile(`\b[A-Z][A-Z_]+\b`)

// link makes links of reasons.
func (a *api) link(text string) string {
	return upperWord.ReplaceAllStringFunc(text, func(word string) string {
		if !slices.ContainsFunc(a.reasons, func(r reason) bool { return r.name == word }) {
			return word
		}
		return "[" + word + "](errors.md#" + anchor(word) + ")"
	})
}

// paragraphs joins a comment's lines; an empty one parts two paragraphs.
func paragraphs(comment string) string {
	parts := strings.Split(comment, "\n\n")
	for i, p := range parts {
		parts[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(parts, "\n\n")
}
