package broker

import (
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// An advance that breaks a rule of its own is refused in its answer, by the name of what is too large; the others of its
// frame count, and the stream goes on.
func TestAnAdvanceThatIsRefusedAlone(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	w := h.worker(&weftv1.WorkHello{Credits: 1, Kinds: []string{"k"}})
	a := w.assigned(1)
	long := strings.Repeat("x", payloadBytesMax)
	refusals := []struct {
		name    string
		news    *weftv1.AttemptAdvance
		reason  weftv1.ErrorReason
		message string
	}{
		{
			"a large partial", &weftv1.AttemptAdvance{Partials: texts("", long+"x")},
			weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE, "partials[1]: has 524289 bytes and the limit is 524288",
		},
		{
			"a large checkpoint", &weftv1.AttemptAdvance{Checkpoint: &weftv1.Checkpoint{State: text(long + "x")}},
			weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE, "checkpoint.state: has 524289 bytes and the limit is 524288",
		},
		{
			"a long message", &weftv1.AttemptAdvance{Progress: &weftv1.Progress{Message: long[:noteBytesMax+1]}},
			weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, "progress.message: must have at most 1024 bytes",
		},
		{
			"many partials", &weftv1.AttemptAdvance{Partials: many(queue.PartialsMax+1, &weftv1.Payload{})},
			weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, "partials: must have at most 1000 items",
		},
		{
			"more than a task may have", &weftv1.AttemptAdvance{Partials: texts(long, long, "x")},
			weftv1.ErrorReason_ERROR_REASON_PARTIALS_FULL, "partials: have more bytes than a task's partial results may",
		},
	}
	for i, test := range refusals {
		test.news.TaskId, test.news.Token, test.news.Sequence = id, a.GetToken(), uint64(2*i+1)
		w.send(&weftv1.WorkRequest{Advances: []*weftv1.AttemptAdvance{test.news, {
			TaskId: id, Token: a.GetToken(), Sequence: uint64(2*i + 2), Partials: texts("p"), PartialsOffset: uint32(i),
		}}})
		w.until(test.name, func(r *weftv1.WorkResponse) bool { return len(r.GetAdvances()) == 2*i+2 })
		refused, durable := w.seen.GetAdvances()[2*i], w.seen.GetAdvances()[2*i+1]
		if refused.GetReason() != test.reason || refused.GetMessage() != test.message || refused.GetSequence() != uint64(2*i+1) ||
			refused.GetToken() != a.GetToken() || durable.GetReason() != 0 {
			t.Errorf("%s: %v, %v", test.name, refused, durable)
		}
	}
	got, err := h.tasks.GetTask(h.ctx(), &weftv1.GetTaskRequest{TaskId: id})
	if err != nil || got.GetTask().GetPartialsCount() != uint32(len(refusals)) || got.GetTask().GetCheckpoint() != nil ||
		got.GetTask().GetProgress() != nil {
		t.Errorf("%v, %v", got, err)
	}
}
