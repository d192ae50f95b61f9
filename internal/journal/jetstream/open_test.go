package jetstream

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A server that cannot start is an error at once, and says why.
func TestOpenSaysWhyTheServerDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	// Nothing is there to be verified, and nothing can be made there.
	if err := os.Symlink("nowhere", filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_, err := Open(t.Context(), Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "torage directory") {
		t.Errorf("%v", err)
	}
	if took := time.Since(begun); took >= startTimeout {
		t.Errorf("after %v", took)
	}
}

// A full disk is the system's word for it.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "WEFT_0.mark")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
}
