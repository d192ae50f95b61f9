package broker

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// executeFrame reads a client's frame into a command. Tasks with a plain payload and nothing unusual are
// read straight from the wire; every other part goes through its message.
type executeFrame struct {
	names   interned
	size    int
	cmd     *shard.CallFrame
	refusal *pure.Refusal

	rest  weftv1.ExecuteRequest // fields that are not read here
	bytes int                   // of payloads
	tasks int
}

// decode implements frameIn. A frame that is protobuf and breaks a rule has a refusal, not an error.
func (f *executeFrame) decode(data []byte) error {
	f.size, f.bytes, f.tasks = len(data), 0, 0
	f.cmd, f.refusal = &shard.CallFrame{}, nil
	f.rest.Reset()
	if f.size > frameBytesMax {
		f.refuse(badFrame("frame", "must have at most 8 MiB"))
		return nil
	}
	more, err := readFields(data, &f.rest, func(x *wire.Field) (bool, error) {
		switch {
		case x.Is(2, protowire.BytesType):
			return true, f.task(x.Data)
		case x.Is(3, protowire.BytesType):
			return true, f.acknowledged(x.Data)
		case x.Is(6, protowire.VarintType):
			f.cmd.Heartbeat = x.Value
			return true, nil
		}
		return false, nil
	})
	if err != nil || !more {
		return err
	}
	if f.refusal == nil {
		f.refusal = executeRest(f.cmd, &f.rest)
	}
	return nil
}

// readFields gives each field of a frame to read, and those that it does not know to the message. more tells
// whether there were any.
func readFields(data []byte, rest proto.Message, read func(*wire.Field) (known bool, err error)) (more bool, err error) {
	var unread []byte
	for b := data; len(b) > 0; {
		x, after, err := wire.Next(b)
		if err != nil {
			return false, err
		}
		known, err := read(&x)
		if err != nil {
			return false, err
		}
		if !known {
			unread = append(unread, b[:len(b)-len(after)]...)
		}
		b = after
	}
	if len(unread) == 0 {
		return false, nil
	}
	return true, proto.Unmarshal(unread, rest)
}

func (f *executeFrame) refuse(r *pure.Refusal) {
	if f.refusal == nil {
		f.refusal = r
	}
}

func (f *executeFrame) acknowledged(b []byte) error {
	var r pure.Range
	for len(b) > 0 {
		x, rest, err := wire.Next(b)
		if err != nil {
			return err
		}
		switch b = rest; {
		case x.Is(1, protowire.VarintType):
			r.First = x.Value
		case x.Is(2, protowire.VarintType):
			r.Last = x.Value
		}
	}
	switch {
	case r.First > r.Last:
		f.refuse(badFrame("acknowledged", "must not end before it begins"))
	case len(f.cmd.Acknowledged) > 0 && r.First <= f.cmd.Acknowledged[len(f.cmd.Acknowledged)-1].Last:
		// Ranges that overlap would have the shard look at each index again and again.
		f.refuse(badFrame("acknowledged", "must be in order and apart from each other"))
	case len(f.cmd.Acknowledged) == rangesMax:
		f.refuse(badFrame("acknowledged", "must have at most 100000 items"))
	default:
		f.cmd.Acknowledged = append(f.cmd.Acknowledged, r)
	}
	return nil
}

func (f *executeFrame) task(b []byte) error {
	if f.tasks++; f.tasks > frameTasksMax {
		f.refuse(badFrame("tasks", "must have at most 1000 items"))
		return nil
	}
	var index uint64
	var spec []byte
	specs, others := 0, 0
	for at := b; len(at) > 0; {
		x, rest, err := wire.Next(at)
		if err != nil {
			return err
		}
		switch at = rest; {
		case x.Is(1, protowire.VarintType):
			index = x.Value
		case x.Is(2, protowire.BytesType):
			spec = x.Data
			specs++
		case x.Is(3, protowire.VarintType), x.Is(3, protowire.BytesType):
			others++
		}
	}
	n, plain, err := f.plainTask(spec)
	if err != nil {
		return err
	}
	var refusal *pure.Refusal
	n.Index = index
	if !plain || specs != 1 || others > 0 { // several specs are one, merged
		var m weftv1.ExecuteTask
		if err := proto.Unmarshal(b, &m); err != nil {
			return err
		}
		n, refusal = newTask(m.GetSpec(), m.GetIndex())
		if refusal == nil && len(m.GetAfterIndexes()) > queue.DependenciesMax {
			refusal = invalid("after_indexes", "must have at most 100 items")
		}
		n.AfterIndexes = m.GetAfterIndexes()
	} else {
		refusal = tooLarge("spec.payload", len(n.Spec.Payload.Data))
	}
	f.add(n, refusal)
	return nil
}

// add takes a task into the command. One that breaks a rule is refused by itself; the others go on.
func (f *executeFrame) add(n queue.NewTask, refusal *pure.Refusal) {
	if refusal != nil {
		f.cmd.Refused = append(f.cmd.Refused, queue.Rejected{Index: n.Index, Reason: refusal})
		return
	}
	if f.bytes += len(n.Spec.Payload.Data) + labelBytes(n.Spec.Options); f.bytes > taskBytesMax {
		f.refuse(badFrame("tasks", "must have at most 4 MiB of payloads and labels"))
		return
	}
	if f.cmd.Tasks == nil {
		f.cmd.Tasks = make([]queue.NewTask, 0, min(f.size/64+1, frameTasksMax))
	}
	f.cmd.Tasks = append(f.cmd.Tasks, n)
}

// labelBytes is the size of a task's labels and keys.
func labelBytes(o *queue.Options) (n int) {
	if o == queue.DefaultOptions {
		return 0
	}
	for _, list := range [][]string{o.Labels, o.WorkerLabels, {o.UniqueKey, o.FairnessKey}} {
		for _, s := range list {
			n += len(s)
		}
	}
	return n + 8*len(o.After)
}

func errorBytes(e *queue.Error) int {
	if e == nil {
		return 0
	}
	return len(e.Reason) + len(e.Message) + len(e.Stack)
}

// plainTask reads a spec that has a queue, a kind and a plain payload and nothing else.
func (f *executeFrame) plainTask(b []byte) (n queue.NewTask, plain bool, err error) {
	n.Queue, n.Spec.Options = queue.DefaultQueue, queue.DefaultOptions
	payloads := 0
	for len(b) > 0 {
		var x wire.Field
		if x, b, err = wire.Next(b); err != nil {
			return n, false, err
		}
		plain := false
		switch {
		case x.Is(1, protowire.BytesType) && len(x.Data) > 0:
			n.Queue, plain = f.names.name(x.Data)
		case x.Is(2, protowire.BytesType):
			n.Spec.Kind, plain = f.names.name(x.Data)
		case x.Is(3, protowire.BytesType):
			payloads++
			n.Spec.Payload, plain, err = readPayload(x.Data)
		}
		if err != nil || !plain {
			return n, false, err
		}
	}
	return n, payloads <= 1 && n.Spec.Kind != "" && n.Spec.Kind != commandKind, nil
}

// workFrame reads a worker's frame into a command, as executeFrame does a client's.
type workFrame struct {
	size    int
	cmd     *shard.WorkerFrame
	output  []*weftv1.OutputChunk
	refusal *pure.Refusal

	rest    weftv1.WorkRequest
	bytes   int
	reports int
}

// decode implements frameIn.
func (f *workFrame) decode(data []byte) error {
	f.size, f.bytes, f.reports = len(data), 0, 0
	f.cmd, f.output, f.refusal = &shard.WorkerFrame{}, nil, nil
	f.rest.Reset()
	if f.size > frameBytesMax {
		f.refuse(badFrame("frame", "must have at most 8 MiB"))
		return nil
	}
	more, err := readFields(data, &f.rest, func(x *wire.Field) (bool, error) {
		switch {
		case x.Is(2, protowire.BytesType):
			return true, f.report(x.Data)
		case x.Is(3, protowire.VarintType):
			f.cmd.Credits = uint32(x.Value)
			return true, nil
		case x.Is(5, protowire.VarintType):
			f.cmd.Heartbeat = x.Value
			return true, nil
		}
		return false, nil
	})
	if err != nil || !more {
		return err
	}
	f.refuse(workRest(f.cmd, &f.rest, f.bytes))
	f.output = f.rest.GetOutput()
	return nil
}

func (f *workFrame) refuse(r *pure.Refusal) {
	if f.refusal == nil {
		f.refusal = r
	}
}

func (f *workFrame) report(b []byte) error {
	if f.reports++; f.reports > frameReportsMax {
		f.refuse(badFrame("reports", "must have at most 1000 items"))
		return nil
	}
	r, plain, err := plainReport(b)
	if err != nil {
		return err
	}
	if !plain {
		var m weftv1.AttemptReport
		if err := proto.Unmarshal(b, &m); err != nil {
			return err
		}
		var refusal *pure.Refusal
		if r, refusal = workReport(&m); refusal != nil {
			f.refuse(refusal)
			return nil
		}
	}
	if f.bytes += len(r.Result.Data) + errorBytes(r.Error); f.bytes > taskBytesMax {
		f.refuse(badFrame("reports", "must have at most 4 MiB of results and errors"))
		return nil
	}
	if f.cmd.Reports == nil {
		f.cmd.Reports = make([]queue.Report, 0, min(f.size/16+1, frameReportsMax))
	}
	f.cmd.Reports = append(f.cmd.Reports, r)
	return nil
}

// plainReport reads a success with a plain result, or none.
func plainReport(b []byte) (r queue.Report, plain bool, err error) {
	results := 0
	for len(b) > 0 {
		var x wire.Field
		if x, b, err = wire.Next(b); err != nil {
			return r, false, err
		}
		plain := true
		switch {
		case x.Is(1, protowire.BytesType):
			r.ID, plain = queue.ParseID(string(x.Data))
		case x.Is(2, protowire.VarintType):
			r.Token = x.Value
		case x.Is(3, protowire.VarintType):
			r.End = queue.EndSucceeded
			plain = x.Value == uint64(queue.EndSucceeded)
		case x.Is(4, protowire.BytesType):
			results++
			r.Result, plain, err = readPayload(x.Data)
		default:
			plain = false
		}
		if err != nil || !plain {
			return r, false, err
		}
	}
	return r, r.ID != 0 && r.End == queue.EndSucceeded && results <= 1 && len(r.Result.Data) <= payloadBytesMax, nil
}
