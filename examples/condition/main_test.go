package main

import (
	"io"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/brokertest"
)

func TestRun(t *testing.T) {
	addr, stop := brokertest.MustStart()
	defer stop()
	for range 2 { // it leaves nothing behind that the next run would meet
		var out strings.Builder
		if err := run(t.Context(), addr, &out); err != nil {
			t.Fatal(err)
		}
		if want := "20 made, 20 sold, 0 left\n"; out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}
