package servercmd

import (
	"encoding/json"
	"testing"
)

// The benchmark of locks prints one object, of each of its modes.
func TestBenchLocks(t *testing.T) {
	w := start(t)
	for mode, flags := range map[string][]string{"own": nil, "shared": {"--shared"}, "conditions": {"--conditions"}} {
		args := append([]string{"bench", "locks", "--duration", "300ms", "--warmup", "50ms", "--clients", "3", "-o", "json"}, flags...)
		r := w.run(args...)
		var got lockBenchResult
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 0 {
			t.Fatalf("%s: %v: %+v", mode, err, r)
		}
		if got.Mode != mode || got.Ops == 0 || got.OpsPerS <= 0 || got.P50ms <= 0 || got.P99ms < got.P50ms || got.Errors != 0 || got.Clients != 3 {
			t.Errorf("%s: %+v", mode, got)
		}
	}
}
