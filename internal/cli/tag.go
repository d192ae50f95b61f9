package cli

import (
	"bytes"
	"io"
)

// tagger begins every line with a tag.
type tagger struct {
	to     io.Writer
	tag    string
	inLine bool
	buf    bytes.Buffer
}

// Write implements io.Writer.
func (t *tagger) Write(p []byte) (int, error) {
	t.buf.Reset()
	for line := range bytes.Lines(p) {
		if !t.inLine {
			t.buf.WriteString(t.tag)
		}
		t.buf.Write(line)
		t.inLine = line[len(line)-1] != '\n'
	}
	if _, err := t.to.Write(t.buf.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
