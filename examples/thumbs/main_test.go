package main

import (
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/brokertest"
)

func TestRun(t *testing.T) {
	addr, stop := brokertest.MustStart()
	defer stop()
	path := filepath.Join(t.TempDir(), "cat.png")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(file, image.NewGray(image.Rect(0, 0, 200, 100))); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	photos := []Photo{{Path: path, Width: 64}, {Path: "nowhere.png", Width: 64}}
	if err := run(t.Context(), addr, &out, photos); err != nil {
		t.Fatal(err)
	}
	if want := path + ": 64 x 32\nnowhere.png: no_picture: open nowhere.png: no such file or directory\nmade: 1\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	small, err := read(strings.TrimSuffix(path, ".png") + ".thumb.png")
	if err != nil || small.Bounds().Dx() != 64 || small.Bounds().Dy() != 32 {
		t.Errorf("%v, %v", small, err)
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard, nil); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}
