// Command generate writes the documents that come from the .proto files.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/weftq/weft/internal/docs"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate ROOT")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	pages, err := docs.Pages(os.DirFS(filepath.Join(root, "proto", "weft", "v1")))
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(root, p.Path), p.Text, 0o644); err != nil { //nolint:gosec // a document
			return err
		}
	}
	return nil
}
