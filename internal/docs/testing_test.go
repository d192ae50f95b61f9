package docs

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	indent  = regexp.MustCompile(`(?m)^\t+`)
)

// TestTestingPage: the Go code of docs/testing.md stands in the examples of pkg/wefttest, which are run there.
func TestTestingPage(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "pkg", "wefttest", "example_*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, file := range files {
		examples.WriteString(indent.ReplaceAllString(read(t, file), ""))
	}
	blocks := goBlock.FindAllStringSubmatch(read(t, filepath.Join(root, "docs", "testing.md")), -1)
	if len(blocks) == 0 {
		t.Error("no code was found")
	}
	for _, block := range blocks {
		if !strings.Contains(examples.String(), indent.ReplaceAllString(block[1], "")) {
			t.Errorf("no example of pkg/wefttest has\n%s", block[1])
		}
	}
}
