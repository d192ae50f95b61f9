package shard

import (
	"unsafe"

	"github.com/weftq/weft/pkg/queue"
)

// What an effect weighs beside what it refers to. Most are smaller; each has a place in a list as well.
const effectBytes = 128

// weigh returns about how many bytes effects keep in memory that nothing else does. Payloads and outcomes
// are the state's, which has a bound of its own. To count them would end the stream of a client that comes
// back to a call with larger results than the bound, each time that it comes: all of them are told at once.
func weigh(effects []any) int {
	bytes := effectBytes * len(effects)
	for _, effect := range effects {
		switch e := effect.(type) {
		case *queue.Rejected:
			bytes += rejectedBytes(e)
		case *queue.Accepted:
			bytes += cap(e.Ranges) * int(unsafe.Sizeof(e.Ranges[0]))
		case *queue.Changed:
			bytes += int(unsafe.Sizeof(*e)) + progressBytes(e.Task.Progress)
		case *queue.CallChange:
			bytes += int(unsafe.Sizeof(*e)) + e.Weight() + progressBytes(e.Task.Progress)
		case *queue.Advanced:
			bytes += int(unsafe.Sizeof(*e)) + progressBytes(e.Progress) // the partial results are the state's
		case *LockAnswered:
			bytes += int(unsafe.Sizeof(*e)) + len(e.Reply.Answer.Data.Text)
		case *ValueNow:
			bytes += int(unsafe.Sizeof(*e)) + len(e.State.Data.Text)
		case *queue.Interrupted:
			bytes += len(e.Message) // another one may wait at the call by now
		}
	}
	return bytes
}

// progressBytes is the size of a progress: the state has the last one alone.
func progressBytes(p *queue.Progress) int {
	if p == nil {
		return 0
	}
	return int(unsafe.Sizeof(*p)) + len(p.Message)
}

func rejectedBytes(e *queue.Rejected) int {
	r := e.Reason
	bytes := int(unsafe.Sizeof(*r)) + len(r.Message) + cap(r.Meta)*int(unsafe.Sizeof(""))
	for _, text := range r.Meta {
		bytes += len(text)
	}
	return bytes
}
