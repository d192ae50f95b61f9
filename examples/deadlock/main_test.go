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
		for _, part := range []string{"circle of waits: ", "Plato", "Kant", "left", "right"} {
			if strings.Count(out.String(), "circle of waits: ") != 1 || !strings.Contains(out.String(), part) {
				t.Errorf("%q, want one deadlock with %q", out.String(), part)
			}
		}
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}
