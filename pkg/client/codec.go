package client

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frameCodec is gRPC's codec of an Execute stream: "proto" on the wire, but frames are written from
// tasks that are encoded already, and read without a message for each outcome.
type frameCodec struct{}

// Name implements encoding.CodecV2: to the broker it is plain protobuf.
func (frameCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for *outFrame and for messages.
func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *outFrame:
		return mem.BufferSlice{mem.NewBuffer(m.take(), framePool{})}, nil
	case proto.Message:
		b, err := proto.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	default:
		return nil, fmt.Errorf("client: cannot send a %T", v)
	}
}

// Unmarshal implements encoding.CodecV2 for *inFrame. The data is copied into the frame's own buffer:
// gRPC's pool clears a whole megabyte for a frame that is a little above 32 KiB.
func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*inFrame)
	if !ok {
		return fmt.Errorf("client: cannot receive into a %T", v)
	}
	size := data.Len()
	if cap(f.raw) < size {
		f.raw = make([]byte, size, size+size/4)
	}
	f.raw = f.raw[:size]
	data.CopyTo(f.raw)
	return f.decode()
}

// frames keeps the memory of frames that gRPC has written.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// framePool gives gRPC's buffers back to frames.
type framePool struct{}

// Get implements mem.BufferPool.
func (framePool) Get(size int) *[]byte {
	b := frames.Get().(*[]byte)
	if cap(*b) < size {
		*b = make([]byte, 0, size)
	}
	*b = (*b)[:size]
	return b
}

// Put implements mem.BufferPool.
func (framePool) Put(b *[]byte) { frames.Put(b) }

// outFrame is a frame to the broker. Its memory comes from the pool and is gRPC's once it is sent.
type outFrame struct{ buf *[]byte }

// begin gives the frame memory for size bytes, empty.
func (f *outFrame) begin(size int) []byte {
	f.buf = framePool{}.Get(size)
	return (*f.buf)[:0]
}

// end takes what was appended.
func (f *outFrame) end(b []byte) { *f.buf = b }

// take gives the frame's memory away.
func (f *outFrame) take() *[]byte {
	b := f.buf
	f.buf = nil
	return b
}
