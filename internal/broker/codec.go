package broker

import (
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of everything but the streams' frames
	"google.golang.org/grpc/mem"
)

// frameCodec is the server's codec. To the other side it is plain protobuf. The frames of the busy streams
// are read into what the shard takes and written from what it tells, without messages between: that is
// half of the broker's work on a task. Tests hold both against the generated messages.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() encoding.CodecV2 { return frameCodec{encoding.GetCodecV2("proto")} }

// frameIn is a frame that reads itself. The data is its own only during the call.
type frameIn interface{ decode(data []byte) error }

// frameOut is a frame that was written. take gives its bytes away.
type frameOut interface{ take() *[]byte }

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frameOut); ok {
		return mem.BufferSlice{mem.NewBuffer(f.take(), framePool{})}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(frameIn)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if len(data) == 1 {
		return f.decode(data[0].ReadOnlyData())
	}
	// Copied into memory of our own: gRPC's pool clears a whole megabyte for a frame that is a little
	// above 32 KiB.
	buf := getFrame()
	defer framePool{}.Put(buf)
	if n := data.Len(); cap(*buf) < n {
		*buf = make([]byte, n, n+n/4)
	} else {
		*buf = (*buf)[:n]
	}
	data.CopyTo(*buf)
	return f.decode(*buf)
}

// frames keeps the memory of frames.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// keepBytesMax is the largest frame whose memory is kept.
const keepBytesMax = 4 << 20

func getFrame() *[]byte {
	b := frames.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// framePool takes frames back that gRPC has written.
type framePool struct{}

// Get implements mem.BufferPool.
func (framePool) Get(size int) *[]byte {
	b := getFrame()
	if cap(*b) < size {
		*b = make([]byte, 0, size)
	}
	*b = (*b)[:size]
	return b
}

// Put implements mem.BufferPool.
func (framePool) Put(b *[]byte) {
	if cap(*b) <= keepBytesMax {
		frames.Put(b)
	}
}
