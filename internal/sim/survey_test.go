//go:build survey

package sim

import (
	"strings"
	"testing"
)

// TestSurvey plays the seeds and prints a line for each that fails: to see at once what is wrong and where.
func TestSurvey(t *testing.T) {
	failed := 0
	for i := range uint64(*seedsFlag) {
		if res := Run(*firstFlag+i, nil); res.Err != nil {
			failed++
			line, _, _ := strings.Cut(strings.TrimSpace(res.Err.Error()), "\n\n")
			t.Logf("%d: %s", res.Seed, strings.ReplaceAll(line, "\n", " | "))
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d seeds fail", failed, *seedsFlag)
	}
}

// TestFirst plays seeds up to the first one that fails: what does it take to find a bug that was put in?
func TestFirst(t *testing.T) {
	for i := range uint64(*seedsFlag) {
		if res := Run(*firstFlag+i, nil); res.Err != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(res.Err.Error()), "\n")
			t.Fatalf("first seed %d: %s", res.Seed, line)
		}
	}
	t.Logf("first seed: none of %d", *seedsFlag)
}
