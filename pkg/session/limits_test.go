package session

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/weftq/weft/internal/pure"
)

// A namespace has so many sessions and no more; a request that opened one finds it, another namespace has room, and
// so has this one when a session has ended.
func TestANamespaceIsBounded(t *testing.T) {
	c, seq := New(), uint64(1)
	step := &pure.Step{Seq: 1, Sink: &tape{seq: &seq}}
	open := func(n uint32, namespace, request string) error {
		st := State{Namespace: namespace, TTL: TTLDefault, RequestID: request}
		binary.LittleEndian.PutUint32(st.ID[:], n+1)
		_, err := c.Open(step, st)
		return err
	}
	if err := open(0, "n", "r"); err != nil {
		t.Fatal(err)
	}
	for i := uint32(1); i < sessionsMax; i++ {
		if err := open(i, "n", ""); err != nil {
			t.Fatal(err)
		}
	}
	before := c.Len()
	refusal, ok := errors.AsType[*pure.Refusal](open(sessionsMax, "n", "more"))
	if !ok || refusal.Reason != pure.StateFull || !slices.Equal(refusal.Meta, []string{"limit", "100000"}) {
		t.Errorf("one more: %+v", refusal)
	}
	if c.Len() != before || c.ByRequest("n", "more") != nil {
		t.Error("what is refused changes something")
	}
	for name, err := range map[string]error{"again": open(sessionsMax, "n", "r"), "elsewhere": open(sessionsMax, "m", "")} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.End(step, c.ByRequest("n", "r").ID, Closed)
	if err := open(0, "n", ""); err != nil {
		t.Errorf("after an end: %v", err)
	}
}
