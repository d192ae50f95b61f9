package worker

import (
	"testing"

	weftv1 "github.com/weftq/weft/proto/weft/v1"

	"github.com/weftq/weft/pkg/task"
)

func ended(token uint64, resultBytes int) *attempt {
	return &attempt{Attempt: task.Attempt{Token: token}, report: &weftv1.AttemptReport{
		Token: token,
		Output: &weftv1.AttemptReport_Result{Result: &weftv1.Payload{
			Value: &weftv1.Payload_Data{Data: make([]byte, resultBytes)},
		}},
	}}
}

func TestFramesAreLimited(t *testing.T) {
	for _, test := range []struct {
		name         string
		reports      int
		bytes        int
		framesAtMost int
	}{
		{"nothing", 0, 0, 0},
		{"one", 1, 10, 1},
		{"many small ones", 2500, 10, 3},
		{"large ones", 20, 512 << 10, 7},
	} {
		o := &outbox{credits: uint32(test.reports)}
		for token := range uint64(test.reports) {
			o.reports = append(o.reports, ended(token, test.bytes))
		}
		next, frames := uint64(0), 0
		for {
			frame := &weftv1.WorkRequest{}
			if !o.take(frame) {
				break
			}
			frames++
			if n := len(frame.GetReports()); n > frameReportsMax || n*test.bytes > frameBytesMax {
				t.Errorf("%s: a frame of %d reports", test.name, n)
			}
			for _, r := range frame.GetReports() {
				if r.GetToken() != next {
					t.Errorf("%s: report %d, not %d", test.name, r.GetToken(), next)
				}
				next++
			}
			if done := next == uint64(test.reports); done != (frame.GetCredits() > 0) {
				t.Errorf("%s: %d credits after %d reports", test.name, frame.GetCredits(), next)
			}
		}
		if next != uint64(test.reports) || frames > test.framesAtMost || len(o.reports) != 0 || o.credits != 0 {
			t.Errorf("%s: %d reports in %d frames", test.name, next, frames)
		}
	}
}
