package worker

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	stdout = weftv1.OutputStream_OUTPUT_STREAM_STDOUT
	stderr = weftv1.OutputStream_OUTPUT_STREAM_STDERR

	chunkBytesMax = 64 << 10
)

// follows are the outputs that are read on a stream: a goroutine for each, and a short queue to the
// sender, at which they wait. The sender and the receiver never wait for them.
//
// A chunk that says gone ends the reading: the bytes from its offset on are not kept, or never were.
type follows struct {
	stream *stream
	chunks chan *weftv1.OutputChunk

	mu     sync.Mutex
	active map[followKey]*follow
	all    sync.WaitGroup
}

type followKey struct {
	reader uint64
	token  uint64
	stream weftv1.OutputStream
}

// follow is one request that is being served.
type follow struct {
	key    followKey
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
	chunks chan<- *weftv1.OutputChunk
	wake   func()
}

func (f *follows) open(s *stream) {
	f.stream = s
	f.chunks = make(chan *weftv1.OutputChunk, frameChunksMax)
	f.active = make(map[followKey]*follow)
}

// close ends all of them.
func (f *follows) close() {
	f.mu.Lock()
	for _, one := range f.active {
		one.cancel()
	}
	f.mu.Unlock()
	f.all.Wait()
}

// take returns up to n chunks to send.
func (f *follows) take(n int) (chunks []*weftv1.OutputChunk) {
	for len(chunks) < n {
		select {
		case chunk := <-f.chunks:
			chunks = append(chunks, chunk)
		default:
			return chunks
		}
	}
	return chunks
}

// request serves a request of the broker. It takes over an earlier one of the same reader, and begins
// when that one has ended, so that chunks of the two are not mixed.
func (f *follows) request(r *weftv1.OutputRequest) {
	key := followKey{r.GetReader(), r.GetToken(), r.GetStream()}
	if key.stream != stdout && key.stream != stderr {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.active[key]
	if before != nil {
		before.cancel()
		delete(f.active, key)
	}
	if r.GetStop() {
		return
	}
	one := &follow{key: key, ended: make(chan struct{}), chunks: f.chunks, wake: f.stream.w.wakeSender}
	one.ctx, one.cancel = context.WithCancel(f.stream.ctx)
	f.active[key] = one
	f.all.Go(func() {
		if before != nil {
			<-before.ended
		}
		f.serve(one, r)
	})
}

func (f *follows) serve(one *follow, r *weftv1.OutputRequest) {
	defer func() {
		one.cancel()
		close(one.ended)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.active[one.key] == one {
			delete(f.active, one.key)
		}
	}()
	f.stream.w.expectOutput(one.key.token)
	outputs := f.stream.w.outputs
	out := outputs.open(one.ctx, one.key.token, one.key.stream)
	if out == nil {
		one.gone(r.GetOffset())
		return
	}
	defer outputs.done(one.key.token)
	one.run(out, max(r.GetOffset(), 0), max(r.GetBytesMax(), 0))
}

// run sends output from an offset on until the window is used up, the stream has ended or somebody says
// so.
func (one *follow) run(out *command.Output, offset, window int64) {
	for one.ctx.Err() == nil {
		changed := out.Changed()
		total, kept, ended := out.Size()
		buf := make([]byte, max(0, min(window, chunkBytesMax, kept-offset)))
		n, err := out.ReadAt(buf, offset)
		switch {
		case n > 0:
			next := offset + int64(n)
			if end := ended && next == total; !one.emit(offset, buf[:n], end) || end {
				return
			}
			offset, window = next, window-int64(n)
			continue
		case errors.Is(err, io.EOF) && offset == total:
			one.emit(offset, nil, true)
			return
		case err != nil: // released, or beyond what is kept
			one.gone(offset)
			return
		case offset < total: // the window is used up
			return
		}
		select {
		case <-changed:
		case <-one.ctx.Done():
		}
	}
}

// emit hands a chunk to the sender; it returns false if the follow is over.
func (one *follow) emit(offset int64, data []byte, end bool) bool {
	return one.send(&weftv1.OutputChunk{
		Token: one.key.token, Stream: one.key.stream, Reader: one.key.reader, Offset: offset, Data: data, End: end,
	})
}

// gone says that the output from an offset on is not here.
func (one *follow) gone(offset int64) {
	one.send(&weftv1.OutputChunk{
		Token: one.key.token, Stream: one.key.stream, Reader: one.key.reader, Offset: offset, Gone: true,
	})
}

func (one *follow) send(chunk *weftv1.OutputChunk) bool {
	select {
	case one.chunks <- chunk:
		one.wake()
		return true
	case <-one.ctx.Done():
		return false
	}
}
