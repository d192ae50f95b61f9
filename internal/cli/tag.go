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

// end ends a line that is not ended: another tag follows.
func (t *tagger) end() error {
	if !t.inLine {
		return nil
	}
	t.inLine = false
	_, err := io.WriteString(t.to, "\n")
	return err
}
