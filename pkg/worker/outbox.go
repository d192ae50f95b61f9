package worker

import (
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	frameReportsMax = 1_000
	frameBytesMax   = 2 << 20 // of reports; the broker refuses a frame with more than 4 MiB of them
	frameChunksMax  = 4       // of output, 64 KiB each: reports must not wait long behind them
)

// outbox is what the worker has to tell: reports that were not sent on this stream yet, and slots that
// became free. It is bounded by the slots: a slot is offered again in the frame that takes the report
// of its last attempt along. Guarded by Worker.mu.
type outbox struct {
	reports []*Attempt
	credits uint32
}

// take moves what fits into a frame. It returns false if there is nothing.
func (o *outbox) take(frame *weftv1.WorkRequest) bool {
	n, size := 0, 0
	for n < len(o.reports) && n < frameReportsMax {
		if size += reportBytes(o.reports[n].report); n > 0 && size > frameBytesMax {
			break // a single one goes alone, however large
		}
		n++
	}
	if n > 0 {
		frame.Reports = make([]*weftv1.AttemptReport, n)
		for i, a := range o.reports[:n] {
			frame.Reports[i] = a.report
		}
		rest := copy(o.reports, o.reports[n:])
		clear(o.reports[rest:])
		o.reports = o.reports[:rest]
	}
	// All reports of ended attempts leave before their slots are offered: see above.
	if len(o.reports) == 0 {
		frame.Credits, o.credits = o.credits, 0
	}
	return n > 0 || frame.Credits > 0
}
