package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// FormatVersion is the version of the frame that this build writes, and the newest that it reads. In every
// version the first byte is the version and the checksum is where it is now, over the same bytes: a newer
// frame can be told from a damaged one.
const FormatVersion = 1

// HeaderSize is the room that a caller leaves at the start of a frame for [Term.Append] to fill.
//
//	0     format version
//	1     type
//	2:10  epoch, little-endian
//	10:18 the shard's counter after this entry
//	18:22 CRC-32C of bytes 0:18 and the body
const HeaderSize = 22

const (
	typeFence   = 1 // body: the term's nonce
	typeRecords = 2 // body: records, each after its length as a varint
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError says that a stored entry is not what a writer of this format stored there.
type CorruptError struct {
	Seq    uint64
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal: entry %d is corrupt or foreign: %s", e.Seq, e.Reason)
}

// FormatError says that an entry was written by a newer version of this program.
type FormatError struct {
	Seq     uint64
	Version byte
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("journal: entry %d has format %d, and this version reads up to %d: use the version that wrote it, or a newer one",
		e.Seq, e.Version, FormatVersion)
}

type header struct {
	kind    byte
	epoch   uint64
	counter uint64
}

func (h header) seal(frame []byte) {
	frame[0] = FormatVersion
	frame[1] = h.kind
	binary.LittleEndian.PutUint64(frame[2:], h.epoch)
	binary.LittleEndian.PutUint64(frame[10:], h.counter)
	binary.LittleEndian.PutUint32(frame[18:], checksum(frame))
}

func open(seq uint64, frame []byte) (header, []byte, error) {
	if len(frame) < HeaderSize {
		return header{}, nil, &CorruptError{seq, fmt.Sprintf("%d bytes are no frame", len(frame))}
	}
	if stored := binary.LittleEndian.Uint32(frame[18:]); stored != checksum(frame) {
		return header{}, nil, &CorruptError{seq, fmt.Sprintf("checksum %08x, computed %08x", stored, checksum(frame))}
	}
	if frame[0] > FormatVersion {
		return header{}, nil, &FormatError{seq, frame[0]}
	}
	if frame[0] == 0 {
		return header{}, nil, &CorruptError{seq, "format version 0"}
	}
	h := header{
		kind:    frame[1],
		epoch:   binary.LittleEndian.Uint64(frame[2:]),
		counter: binary.LittleEndian.Uint64(frame[10:]),
	}
	if h.kind != typeFence && h.kind != typeRecords {
		return header{}, nil, &CorruptError{seq, fmt.Sprintf("unknown type %d", h.kind)}
	}
	return h, frame[HeaderSize:], nil
}

func checksum(frame []byte) uint32 {
	sum := crc32.Update(0, castagnoli, frame[:18])
	return crc32.Update(sum, castagnoli, frame[HeaderSize:])
}
