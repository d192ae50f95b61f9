package jetstream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"

	"github.com/weftq/weft/internal/journal"
)

// DamageError says that a block file holds something that the server did not write there. Open has
// changed nothing.
type DamageError struct {
	File   string
	Offset int64
	Reason string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("jetstream: %s is damaged at byte %d: %s; nothing was changed: restore the directory from a backup, or move it away to begin without its tasks",
		e.File, e.Offset, e.Reason)
}

// Unwrap returns journal.ErrDamaged.
func (e *DamageError) Unwrap() error { return journal.ErrDamaged }

// verifyBlocks reads a stream's block files as the server of this version writes them: without
// compression and encryption. Left to itself the server cuts a file at the first bad record, which
// destroys the good ones after it. A record that is not all there at the very end is no damage: its
// append was under way when the machine or the process died, and nobody was told that it succeeded.
//
// It returns the bounds of the entries, first 0 if there are none.
func verifyBlocks(dir, name, subject string) (first, last uint64, err error) {
	// A purge of everything goes through the second directory.
	for _, sub := range []string{"msgs", "__new_msgs__"} {
		blocks, err := listBlocks(filepath.Join(dir, sub))
		if err != nil {
			return 0, 0, err
		}
		v := verifier{name: name, subject: []byte(subject)}
		for i, index := range blocks {
			file := filepath.Join(dir, sub, strconv.FormatUint(index, 10)+".blk")
			if err := v.block(file, index, i == len(blocks)-1); err != nil {
				return 0, 0, err
			}
		}
		if v.first != 0 {
			first, last = v.first, v.last
		}
	}
	return first, last, nil
}

func listBlocks(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	var blocks []uint64
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			if index, err := strconv.ParseUint(base, 10, 32); err == nil {
				blocks = append(blocks, index)
			}
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

// A record in a block file:
//
//	total length u32, top bit: with headers | sequence u64 | time u64 | subject length u16 |
//	subject | [header length u32 | headers] | message | HighwayHash-64
//
// The hash covers sequence, time, subject, headers and message, but none of the lengths. All integers
// are little-endian. A tombstone is a record of nothing whose sequence has bit 62 set.
const (
	recordHead    = 22
	recordHash    = 8
	recordMax     = 32 << 20
	withHeaders   = 1 << 31
	tombstoneBit  = 1 << 62
	headersBegin  = "NATS/1.0\r\n"
	headersFinish = "\r\n\r\n"
)

type verifier struct {
	name    string
	subject []byte
	first   uint64 // sequence of the first entry seen, 0 before that
	last    uint64 // and of the last one
	buf     []byte
	hash    hash.Hash64
}

func (v *verifier) block(file string, index uint64, newest bool) error {
	var err error
	if v.buf, err = readInto(v.buf, file); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", v.name, index))
	if v.hash, err = highwayhash.NewDigest64(key[:]); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	for off := 0; off < len(v.buf); {
		rest := v.buf[off:]
		if newest && v.torn(rest) {
			return nil
		}
		n, reason := v.record(rest)
		if reason != "" {
			return &DamageError{file, int64(off), reason}
		}
		off += n
	}
	return nil
}

// record checks the record at the start of rest and returns its size, or what is wrong with it.
func (v *verifier) record(rest []byte) (int, string) {
	if len(rest) < recordHead+recordHash {
		return 0, fmt.Sprintf("%d bytes are no record", len(rest))
	}
	length, headers := recordLength(rest)
	if length < recordHead+recordHash || length > recordMax || length > len(rest) {
		return 0, fmt.Sprintf("a record of %d bytes, and %d are there", length, len(rest))
	}
	rec := rest[:length]
	if !v.hashHolds(rec, headers) {
		return 0, "a record whose checksum does not match"
	}
	seq := binary.LittleEndian.Uint64(rec[4:])
	subject := int(binary.LittleEndian.Uint16(rec[20:]))
	if seq&tombstoneBit != 0 {
		if subject != 0 || headers || length != recordHead+recordHash {
			return 0, "a tombstone with contents"
		}
		return length, ""
	}
	body := rec[recordHead : length-recordHash]
	if !bytes.Equal(body[:subject], v.subject) {
		return 0, fmt.Sprintf("an entry of subject %q", body[:min(subject, 64)])
	}
	if headers && !headersHold(body[subject:]) {
		return 0, "headers that are none"
	}
	if v.first != 0 && seq != v.last+1 {
		return 0, fmt.Sprintf("entry %d after entry %d", seq, v.last)
	}
	if v.first == 0 {
		v.first = seq
	}
	v.last = seq
	return length, ""
}

// torn tells whether rest is what remains of one append that was cut short, rather than a damaged record
// whose length says too much: then the bytes would make a record of another length, or the next sequence's
// record would follow somewhere.
func (v *verifier) torn(rest []byte) bool {
	if len(rest) < recordHead {
		return true
	}
	length, headers := recordLength(rest)
	if length <= len(rest) || length > recordMax {
		return false
	}
	if len(rest) >= recordHead+recordHash && v.hashHolds(rest, headers) {
		return false
	}
	next := binary.LittleEndian.AppendUint64(nil, binary.LittleEndian.Uint64(rest[4:])+1)
	for from := recordHead; ; {
		i := bytes.Index(rest[from:], v.subject)
		if i < 0 {
			return true
		}
		if from += i; bytes.Equal(rest[from-recordHead+4:][:8], next) {
			return false
		}
		from++
	}
}

func recordLength(rest []byte) (length int, headers bool) {
	n := binary.LittleEndian.Uint32(rest)
	return int(n &^ withHeaders), n&withHeaders != 0
}

// hashHolds tells whether rec, taken as a whole record, ends with the hash of its contents.
func (v *verifier) hashHolds(rec []byte, headers bool) bool {
	body, sum := rec[recordHead:len(rec)-recordHash], rec[len(rec)-recordHash:]
	subject := int(binary.LittleEndian.Uint16(rec[20:]))
	contents := subject
	if headers {
		contents += 4
	}
	if contents > len(body) {
		return false
	}
	v.hash.Reset()
	v.hash.Write(rec[4:20])
	v.hash.Write(body[:subject])
	v.hash.Write(body[contents:])
	var own [recordHash]byte
	return bytes.Equal(v.hash.Sum(own[:0]), sum)
}

func headersHold(body []byte) bool {
	n := uint64(binary.LittleEndian.Uint32(body))
	body = body[4:]
	return n <= uint64(len(body)) &&
		bytes.HasPrefix(body[:n], []byte(headersBegin)) && bytes.HasSuffix(body[:n], []byte(headersFinish))
}

// readInto reads a file into buf, which it replaces if it is too small.
func readInto(buf []byte, name string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size := int(fi.Size()); cap(buf) < size {
		buf = make([]byte, size)
	} else {
		buf = buf[:size]
	}
	_, err = io.ReadFull(f, buf)
	return buf, err
}
