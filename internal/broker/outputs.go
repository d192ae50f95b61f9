package broker

import (
	"sync"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// outputWindow is how many bytes of one output a reader asks its worker for at a time. It bounds what the
// broker holds for the reader.
const outputWindow = 512 << 10

// outputs relays the output of running commands from workers to readers. Nothing of it is stored: a reader
// asks the worker for a window of bytes, and for the next one when it has them.
type outputs struct {
	mu      sync.Mutex
	links   map[session.ID]*workerLink
	readers map[uint64]*outputReader
	named   uint64
}

// workerLink is a worker's open stream.
type workerLink struct {
	session session.ID
	outbox  *shard.Outbox
}

// outputReader reads one output stream of one attempt, across reconnects of its worker.
type outputReader struct {
	owner   *outputs
	name    uint64
	session session.ID
	token   uint64
	stream  weftv1.OutputStream
	wake    chan<- struct{} // its owner's; never waited for

	link   *workerLink // nil while the worker is away
	next   int64       // first byte that has not come
	window int64       // bytes that were asked for and have not come
	chunks []*weftv1.OutputChunk
	done   bool // no more will come
}

func newOutputs() *outputs {
	return &outputs{links: map[session.ID]*workerLink{}, readers: map[uint64]*outputReader{}}
}

// connect brings a worker's stream in; readers of its outputs go on where they were.
func (h *outputs) connect(id session.ID, o *shard.Outbox) *workerLink {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &workerLink{session: id, outbox: o}
	if o.Err() != nil {
		return l // a newer stream has taken over already, and may be here before
	}
	h.links[id] = l
	for _, r := range h.readers {
		if r.session == id {
			r.attach(l)
			signal(r.wake)
		}
	}
	return l
}

// disconnect says that a stream is gone.
func (h *outputs) disconnect(l *workerLink) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links[l.session] == l {
		delete(h.links, l.session)
	}
	for _, r := range h.readers {
		if r.link == l {
			r.link = nil
			signal(r.wake)
		}
	}
}

// open begins to read an output from an offset.
func (h *outputs) open(id session.ID, token uint64, stream weftv1.OutputStream, offset int64, wake chan<- struct{}) *outputReader {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.named++
	r := &outputReader{owner: h, name: h.named, session: id, token: token, stream: stream, wake: wake, next: offset}
	h.readers[r.name] = r
	if l := h.links[id]; l != nil {
		r.attach(l)
	}
	return r
}

// attach asks a worker for the reader's next bytes. The mutex is held.
func (r *outputReader) attach(l *workerLink) {
	r.link = l
	if r.done {
		return
	}
	r.window = outputWindow
	l.outbox.Push(&weftv1.OutputRequest{
		Token: r.token, Stream: r.stream, Offset: r.next, BytesMax: r.window, Reader: r.name,
	})
}

// deliver takes a chunk that a worker sent. What nobody asked for is dropped. A chunk that does not follow
// the one before ends the output: the bytes between will not come, and the reader must not wait for them.
func (h *outputs) deliver(l *workerLink, c *weftv1.OutputChunk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.readers[c.GetReader()]
	if r == nil || r.link != l || r.done || r.token != c.GetToken() || r.stream != c.GetStream() {
		return
	}
	size := int64(len(c.GetData()))
	if c.GetGone() || c.GetOffset() != r.next || size > r.window || size > outputChunkBytes {
		size = 0
		c = &weftv1.OutputChunk{Token: r.token, Stream: r.stream, Offset: r.next, Gone: true}
	}
	r.next += size
	r.window -= size
	r.done = c.GetEnd() || c.GetGone()
	if size > 0 || r.done {
		r.add(c)
		signal(r.wake)
	}
}

// add keeps a chunk until it is taken. Small ones are joined, so that what waits is bounded by its bytes.
func (r *outputReader) add(c *weftv1.OutputChunk) {
	c.Reader = 0 // the worker's business
	if n := len(r.chunks); n > 0 {
		last := r.chunks[n-1]
		if len(last.GetData())+len(c.GetData()) <= outputChunkBytes {
			last.Data = append(last.Data, c.GetData()...)
			last.End, last.Gone = c.GetEnd(), c.GetGone()
			return
		}
	}
	r.chunks = append(r.chunks, c)
}

// take returns what has come, and whether no more will.
func (r *outputReader) take() (chunks []*weftv1.OutputChunk, done bool) {
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	chunks, r.chunks = r.chunks, nil
	if r.window == 0 && r.link != nil {
		r.attach(r.link)
	}
	return chunks, r.done
}

// close ends the reading.
func (r *outputReader) close() {
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	delete(r.owner.readers, r.name)
	if r.link != nil && !r.done {
		r.link.outbox.Push(&weftv1.OutputRequest{Token: r.token, Stream: r.stream, Reader: r.name, Stop: true})
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
