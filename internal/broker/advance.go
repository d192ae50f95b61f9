package broker

import (
	"context"
	"fmt"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// noteBytesMax bounds what an attempt says for people: a progress's message, the reason of an interrupt.
const noteBytesMax = 1024

// AdvanceTask implements TaskService.
func (s *taskService) AdvanceTask(ctx context.Context, req *weftv1.AdvanceTaskRequest) (*weftv1.AdvanceTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	a := queue.Advance{ID: id, Token: req.GetToken(), Offset: req.GetPartialsOffset()}
	if _, refusal := readAdvance(&a, req); refusal != nil {
		return nil, statusError(refusal)
	}
	if _, err := s.loop.Do(ctx, &shard.AdvanceTask{Namespace: orDefault(req.GetNamespace()), Advance: a}); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.AdvanceTaskResponse{}, nil
}

// InterruptSubmitter implements TaskService.
func (s *taskService) InterruptSubmitter(
	ctx context.Context, req *weftv1.InterruptSubmitterRequest,
) (*weftv1.InterruptSubmitterResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	if _, err := s.loop.Do(ctx, &shard.InterruptSubmitter{
		Namespace: orDefault(req.GetNamespace()), ID: id, Token: req.GetToken(), Message: req.GetMessage(),
	}); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.InterruptSubmitterResponse{}, nil
}

// news is what an advance says, on a stream or by a request of its own.
type news interface {
	GetProgress() *weftv1.Progress
	GetCheckpoint() *weftv1.Checkpoint
	GetPartials() []*weftv1.Payload
}

// partialBytes is what a partial result takes beside its data: a frame's may all be empty, and are one journal entry.
const partialBytes = 16

// readAdvance checks what an advance says, and returns about how many bytes its payloads take.
func readAdvance(a *queue.Advance, m news) (bytes int, err *pure.Refusal) {
	if p := m.GetProgress(); p != nil {
		if len(p.GetMessage()) > noteBytesMax {
			return 0, invalid("progress.message", "must have at most 1024 bytes")
		}
		a.Progress = &queue.Progress{Done: p.GetDone(), Total: p.GetTotal(), Message: p.GetMessage()}
	}
	if c := m.GetCheckpoint(); c != nil {
		state, err := payload("checkpoint.state", c.GetState())
		if err != nil {
			return 0, err
		}
		a.Checkpoint = &queue.Checkpoint{State: state, Partials: c.GetPartialsCount()}
		bytes = len(state.Data)
	}
	if len(m.GetPartials()) > queue.PartialsMax {
		return 0, invalid("partials", "must have at most 1000 items")
	}
	size := 0
	for i, p := range m.GetPartials() {
		one, err := payload(fmt.Sprintf("partials[%d]", i), p)
		if err != nil {
			return 0, err
		}
		if size += len(one.Data); size > queue.PartialsBytesMax {
			return 0, pure.Refuse(pure.PartialsFull, "partials: have more bytes than a task's partial results may",
				"task_id", queue.FormatID(a.ID), "limit", queue.PartialsBytesMax)
		}
		a.Partials = append(a.Partials, one)
		bytes += len(one.Data) + partialBytes
	}
	return bytes, nil
}

// advancesOf takes the advances of a worker's frame, which has so many bytes of results already. One that breaks a rule
// of its own is refused by itself: it is one attempt's fault, and the stream is all of the worker's attempts.
func advancesOf(cmd *shard.WorkerFrame, list []*weftv1.AttemptAdvance, total int) *pure.Refusal {
	if len(list) > frameReportsMax {
		return badFrame("advances", "must have at most 1000 items")
	}
	for _, m := range list {
		id, _ := queue.ParseID(m.GetTaskId()) // what is none is no task's
		a := queue.Advance{ID: id, Token: m.GetToken(), Sequence: m.GetSequence(), Offset: m.GetPartialsOffset()}
		bytes, refusal := readAdvance(&a, m)
		if refusal != nil {
			cmd.Advances = append(cmd.Advances, queue.Advance{ID: id, Token: a.Token, Sequence: a.Sequence, Refused: refusal})
			continue
		}
		if total += bytes; total > taskBytesMax {
			return badFrame("advances", "must have at most 4 MiB of payloads, with the reports")
		}
		cmd.Advances = append(cmd.Advances, a)
	}
	return nil
}

func progressMessage(p *queue.Progress) *weftv1.Progress {
	if p == nil {
		return nil
	}
	return &weftv1.Progress{Done: p.Done, Total: p.Total, Message: p.Message}
}

func checkpointMessage(p *queue.Checkpoint) *weftv1.Checkpoint {
	if p == nil {
		return nil
	}
	return &weftv1.Checkpoint{State: payloadMessage(p.State), PartialsCount: p.Partials}
}

// payloadMessages keeps the place of an empty payload.
func payloadMessages(list []queue.Payload) (out []*weftv1.Payload) {
	for _, p := range list {
		m := payloadMessage(p)
		if m == nil {
			m = &weftv1.Payload{}
		}
		out = append(out, m)
	}
	return out
}
