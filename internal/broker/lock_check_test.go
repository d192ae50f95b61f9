package broker

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// lockRequests makes the commands that are looked at by hand, of fields that may or may not keep their rules.
func lockRequests(rng *rand.Rand) []lockRequest {
	name := func() string {
		return []string{"n", "", "a/b.c-d_e", "no name", "é", strings.Repeat("n", 256), strings.Repeat("n", 257)}[rng.IntN(7)]
	}
	wait := func() *durationpb.Duration {
		return []*durationpb.Duration{
			nil,
			{},
			durationpb.New(time.Second), durationpb.New(24 * time.Hour), durationpb.New(24*time.Hour + 1), durationpb.New(-1),
			{Seconds: 1, Nanos: -1},
			{Nanos: 2_000_000_000},
			{Seconds: 1 << 62},
		}[rng.IntN(9)]
	}
	holder := func() *weftv1.Holder {
		return []*weftv1.Holder{
			nil,
			{},
			{Number: 7, Name: "x"},
			{SessionId: "s"},
			{Name: strings.Repeat("n", 256)},
			{Name: strings.Repeat("n", 257)},
			{SessionId: strings.Repeat("s", 65)},
		}[rng.IntN(7)]
	}
	token := uint64(rng.IntN(2))
	return []lockRequest{
		&weftv1.AcquireLockRequest{
			Name: name(), Holder: holder(), Wait: wait(), Mode: weftv1.LockMode(rng.IntN(5) - 1), Lease: wait(),
			Published: strings.Repeat("p", rng.IntN(2)*(4095+rng.IntN(3))),
		},
		&weftv1.ReleaseLockRequest{Name: name(), Holder: holder(), Token: token},
		&weftv1.WaitConditionRequest{Name: name(), Lock: name(), Holder: holder(), Token: token, Wait: wait()},
		&weftv1.NotifyConditionRequest{Name: name(), Lock: name(), Holder: holder(), Token: token, Count: rng.Uint32() >> rng.IntN(32)},
	}
}

// What is passed by hand keeps the annotations, and enough is passed to be of use.
func TestPlainCommandsKeepTheAnnotations(t *testing.T) {
	v := newValidator(t)
	rng := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 5000 {
		for _, m := range lockRequests(rng) {
			if !plain(m) {
				continue
			}
			passed++
			if err := validate(v, withHolder(m)); err != nil {
				t.Fatalf("%v is plain: %v", m, err)
			}
		}
	}
	if passed < 500 {
		t.Errorf("only %d were plain", passed)
	}
}
