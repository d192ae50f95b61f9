package client

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Field numbers of the hot messages. A fuzz test holds this file and decode.go against the generated
// code.
const (
	requestTasks        protowire.Number = 2
	requestAcknowledged protowire.Number = 3
	requestCancels      protowire.Number = 4
	requestFinish       protowire.Number = 5
	requestHeartbeat    protowire.Number = 6

	requestInterruptTaken protowire.Number = 7

	taskIndex protowire.Number = 1
	taskSpec  protowire.Number = 2

	taskAfterIndexes protowire.Number = 3

	specPayload protowire.Number = 3
	specCommand protowire.Number = 4

	payloadData protowire.Number = 1
	payloadText protowire.Number = 2
)

// chunkBytes is how much memory the encoded tasks take at a time. A task that does not fit has its own.
const chunkBytes = 64 << 10

// encoder turns specs into the bytes of ExecuteRequest.tasks, once: sending and sending again copy
// them. Many tasks share a chunk, which is garbage when the last of them was accepted.
type encoder struct {
	chunk   []byte
	scratch weftv1.TaskSpec // reused, so that encoding a plain task allocates nothing
}

// task encodes a spec at its place in the call. The result is a complete field, tag included, and not
// to be changed.
func (e *encoder) task(index uint64, s *Spec) ([]byte, error) {
	s.fill(&e.scratch)
	rest := proto.Size(&e.scratch)
	work, size := s.workSize()
	spec := rest + size
	body := sizeTag(taskSpec) + protowire.SizeBytes(spec)
	if index != 0 {
		body += sizeTag(taskIndex) + protowire.SizeVarint(index)
	}
	b := e.room(sizeTag(requestTasks) + protowire.SizeBytes(body))
	start := len(b)
	b = protowire.AppendTag(b, requestTasks, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(body)) //nolint:gosec // a size is not negative
	if index != 0 {
		b = protowire.AppendTag(b, taskIndex, protowire.VarintType)
		b = protowire.AppendVarint(b, index)
	}
	b = protowire.AppendTag(b, taskSpec, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(spec)) //nolint:gosec // a size is not negative
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, &e.scratch)
	if err == nil {
		b, err = s.appendWork(b, work)
	}
	if err != nil {
		return nil, fmt.Errorf("client: encode task: %w", err)
	}
	e.chunk = b
	return b[start:len(b):len(b)], nil
}

// room returns the chunk to append to, with space for size bytes more.
func (e *encoder) room(size int) []byte {
	if cap(e.chunk)-len(e.chunk) < size {
		e.chunk = make([]byte, 0, max(chunkBytes, size))
	}
	return e.chunk
}

// workSize returns the size of the payload's or command's message, and of the whole field.
func (s *Spec) workSize() (message, field int) {
	if s.Command != nil {
		message = proto.Size(s.Command)
		return message, sizeTag(specCommand) + protowire.SizeBytes(message)
	}
	if n := s.Payload.Len(); n > 0 {
		message = sizeTag(payloadData) + protowire.SizeBytes(n)
	}
	return message, sizeTag(specPayload) + protowire.SizeBytes(message)
}

// appendWork appends the payload or the command, whose message has the given size.
func (s *Spec) appendWork(b []byte, message int) ([]byte, error) {
	if s.Command != nil {
		b = protowire.AppendTag(b, specCommand, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(message)) //nolint:gosec // a size is not negative
		return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, s.Command)
	}
	b = protowire.AppendTag(b, specPayload, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(message)) //nolint:gosec // a size is not negative
	return appendPayload(b, s.Payload), nil
}

// appendPayload appends the fields of a payload.
func appendPayload(b []byte, p task.Payload) []byte {
	if p.Len() == 0 {
		return b
	}
	num := payloadData
	if p.IsText() {
		num = payloadText
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, p.Bytes())
}

// workBytes is what a task counts against the call's window.
func (s *Spec) workBytes() int {
	if s.Command != nil {
		return proto.Size(s.Command)
	}
	return s.Payload.Len()
}

// sizeTag is the size of a tag; every field here has a number below 16.
func sizeTag(protowire.Number) int { return 1 }
