package worker

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// outputsMax is how many ended commands' outputs are kept at most, the oldest going first: each may have
// two files open or half a MiB in memory.
const outputsMax = 500

// source is where output comes from: a process, or a handler.
type source interface {
	Output(stream weftv1.OutputStream) *command.Output
	Release()
}

// sink is a source that a handler writes to.
type sink interface {
	source
	io.Writer
	End() (total int64)
}

// outputs keeps commands' and handlers' output for those who read it: from the assignment until nobody can ask for it
// any more, or a limit is reached.
type outputs struct {
	cfg OutputConfig

	mu    sync.Mutex
	kept  map[uint64]*keptOutput // by token
	ended []*keptOutput          // of these, those whose command has ended, oldest first
	bytes int64                  // of ended
}

// keptOutput is the output of one attempt.
type keptOutput struct {
	token    uint64
	begun    chan struct{} // closed when source is set, or will never be
	source   source        // nil before, and if a command was never started
	sink     sink          // the source of a handler's
	bytes    int64
	ended    bool // the attempt has
	partial  bool // the report does not have all of it
	accepted bool // the report was
	unwanted bool // nobody can ask for it
	readers  int
	expiry   *time.Timer

	forgotten bool
}

func newOutputs(cfg OutputConfig) *outputs {
	return &outputs{cfg: cfg, kept: make(map[uint64]*keptOutput)}
}

// expect makes a place for the output of a command that will be started: it may be asked for before.
func (o *outputs) expect(token uint64) *keptOutput {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := &keptOutput{token: token, begun: make(chan struct{})}
	o.kept[token] = k
	return k
}

// expectSink makes a place for the output of a handler that runs.
func (o *outputs) expectSink(token uint64) *keptOutput {
	k := o.expect(token)
	k.sink = command.NewSink(o.cfg.SpoolDir, o.cfg.AttemptBytesMax)
	o.begin(k, k.sink)
	return k
}

// begin notes that the command was started.
func (o *outputs) begin(k *keptOutput, s source) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k.source = s
	close(k.begun)
}

// end notes that the attempt has ended, or its command was never started. Without a report its output goes at once;
// partial says that the report does not have all of it.
func (o *outputs) end(k *keptOutput, unwanted, partial bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k.ended = true
	k.unwanted = k.unwanted || unwanted
	o.ended = append(o.ended, k)
	if k.source == nil {
		close(k.begun)
		o.forget(k)
		return
	}
	k.partial = partial
	for _, stream := range []weftv1.OutputStream{stdout, stderr} {
		_, bytes, _ := k.source.Output(stream).Size()
		k.bytes += bytes
	}
	o.bytes += k.bytes
	o.settle(k)
	for len(o.ended) > outputsMax || o.bytes > o.cfg.TotalBytesMax {
		o.forget(o.ended[0])
	}
}

// reported notes the broker's answers to reports.
func (o *outputs) reported(accepted, refused []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.kept) == 0 {
		return
	}
	for _, token := range accepted {
		if k := o.kept[token]; k != nil && k.ended {
			k.accepted = true
			o.settle(k)
		}
	}
	for _, token := range refused {
		if k := o.kept[token]; k != nil && k.ended {
			k.unwanted = true
			o.settle(k)
		}
	}
}

// release notes that nobody can ask for the output any more. It is forgotten once the command has ended.
func (o *outputs) release(token uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.kept[token]; k != nil {
		k.unwanted = true
		o.settle(k)
	}
}

// open counts a reader in and waits until a command was started. It returns nil, and counts nobody,
// if there is no such output or ctx ends.
func (o *outputs) open(ctx context.Context, token uint64, stream weftv1.OutputStream) *command.Output {
	o.mu.Lock()
	k := o.kept[token]
	if k != nil {
		k.readers++
	}
	o.mu.Unlock()
	if k == nil {
		return nil
	}
	select {
	case <-k.begun:
		if k.source != nil {
			return k.source.Output(stream)
		}
	case <-ctx.Done():
	}
	o.done(token)
	return nil
}

// done counts a reader out.
func (o *outputs) done(token uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.kept[token]; k != nil {
		k.readers--
		o.settle(k)
	}
}

// close forgets all of ended commands.
func (o *outputs) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.ended) > 0 {
		o.forget(o.ended[0])
	}
}

// settle forgets an output if its time has come. The caller holds o.mu.
func (o *outputs) settle(k *keptOutput) {
	switch {
	case !k.ended:
	case k.unwanted, k.accepted && !k.partial && k.readers == 0:
		o.forget(k)
	case k.accepted && k.expiry == nil:
		k.expiry = time.AfterFunc(o.cfg.KeepFor, func() { o.release(k.token) })
	}
}

// forget drops an output of a command that has ended. The caller holds o.mu.
func (o *outputs) forget(k *keptOutput) {
	if k.forgotten {
		return
	}
	k.forgotten = true
	if o.kept[k.token] == k {
		delete(o.kept, k.token)
	}
	o.ended = slices.DeleteFunc(o.ended, func(other *keptOutput) bool { return other == k })
	o.bytes -= k.bytes
	if k.expiry != nil {
		k.expiry.Stop()
	}
	if k.source != nil {
		k.source.Release()
	}
}
