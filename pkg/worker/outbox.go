package worker

import (
	"slices"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	frameReportsMax = 1_000
	frameBytesMax   = 2 << 20 // of reports; the broker refuses a frame with more than 4 MiB of them
	frameChunksMax  = 4       // of output, 64 KiB each: reports must not wait long behind them
)

// outbox is what the worker has to tell: news of attempts that run, reports that were not sent on this stream yet,
// and slots that became free. It is bounded by the slots: a slot is offered again in the frame that takes the report
// of its last attempt along. Guarded by Worker.mu.
type outbox struct {
	news    []*attempt
	reports []*attempt
	credits uint32
}

// take moves what fits into a frame. It returns false if there is nothing.
func (o *outbox) take(frame *weftv1.WorkRequest) bool {
	n, size := 0, 0
	for n < len(o.reports) && n < frameReportsMax {
		a := o.reports[n]
		if size += reportBytes(a.report) + a.advance.bytes(); n > 0 && size > frameBytesMax {
			break // a single one goes alone, however large
		}
		if m := a.advance.message(a, true); m != nil {
			frame.Advances = append(frame.Advances, m)
		}
		n++
	}
	o.takeNews(frame, size) // what is left of the frame: a report frees a slot
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
	return n > 0 || frame.Credits > 0 || len(frame.GetAdvances()) > 0
}

// takeNews moves news of attempts that run, as much as fits into a frame that has so many bytes.
func (o *outbox) takeNews(frame *weftv1.WorkRequest, size int) {
	taken := 0
	for _, a := range o.news {
		bytes := a.advance.bytes()
		if len(frame.GetAdvances()) == frameReportsMax || size > 0 && size+bytes > frameBytesMax {
			break
		}
		taken++
		a.advance.queued = false
		if a.report != nil || a.worker.attempts[a.Token] != a {
			continue // it goes with the report, or nobody wants it
		}
		if m := a.advance.message(a, false); m != nil {
			frame.Advances = append(frame.Advances, m)
			size += bytes
		}
	}
	o.news = slices.Delete(o.news, 0, taken)
}
