package jetstream

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/weftq/weft/internal/journal"
)

// watermark remembers beside the server's files what must be there: every entry that was acknowledged and
// that nobody asked to purge. The server knows of no such promise; when a block is damaged or gone it
// begins or ends earlier.
//
// It is a small file that is overwritten in place and not synced: about a microsecond per append. It
// survives the process, however that dies. After a crash of the machine it may be old, and then asks for
// less than it could.
type watermark struct {
	file *os.File
	boot [16]byte // names the machine's present boot

	mu     sync.Mutex
	last   uint64 // newest entry acknowledged
	below  uint64 // no entry from here on was ever to be purged
	known  bool   // the file held a promise
	reboot bool   // made before the machine's last boot
}

const (
	watermarkMagic = "WEFTWM1\n"
	watermarkSize  = 44 // magic, boot, last, below, CRC-32C of all that
)

func openWatermark(name string) (*watermark, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	w := &watermark{file: f, boot: bootID()}
	buf := make([]byte, watermarkSize)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("jetstream: read %s: %w", name, errors.Join(err, f.Close()))
	}
	// A new file, or one that a crash of the machine left half written, asks for nothing.
	if n == watermarkSize && string(buf[:8]) == watermarkMagic &&
		binary.LittleEndian.Uint32(buf[40:]) == crc32.Checksum(buf[:40], castagnoli) {
		w.last = binary.LittleEndian.Uint64(buf[24:])
		w.below = binary.LittleEndian.Uint64(buf[32:])
		w.known, w.reboot = true, [16]byte(buf[8:24]) != w.boot
	}
	return w, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// acked notes that everything up to an entry is promised.
func (w *watermark) acked(seq uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq <= w.last {
		return nil
	}
	w.last = seq
	return w.write()
}

// purging notes, before it happens, that the entries below a sequence may go.
func (w *watermark) purging(below uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if below <= w.below {
		return nil
	}
	w.below = below
	return w.write()
}

// reset makes the stream as it is the promise.
func (w *watermark) reset(st journal.State) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.below, w.known, w.reboot = st.Last, st.First, true, false
	return w.write()
}

func (w *watermark) promised() (last uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// check holds a state against the promise. The caller has taken last before it asked for the state, for an
// append may succeed meanwhile.
func (w *watermark) check(st journal.State, last uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if st.Last < last {
		return &journal.CorruptError{Seq: st.Last + 1, Reason: fmt.Sprintf("acknowledged up to %d, and the store ends before it", last)}
	}
	if below := max(w.below, 1); st.First > below {
		return &journal.CorruptError{Seq: below, Reason: fmt.Sprintf("never purged, and the store begins with %d", st.First)}
	}
	return nil
}

// write is called with mu held.
func (w *watermark) write() error {
	buf := make([]byte, 0, watermarkSize)
	buf = append(buf, watermarkMagic...)
	buf = append(buf, w.boot[:]...)
	buf = binary.LittleEndian.AppendUint64(buf, w.last)
	buf = binary.LittleEndian.AppendUint64(buf, w.below)
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
	if _, err := w.file.WriteAt(buf, 0); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	return nil
}

func (w *watermark) close() error {
	return w.file.Close()
}

// bootID is empty where the system does not tell: then every boot looks the same.
func bootID() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	if uuid, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")); err == nil {
		copy(id[:], uuid)
	}
	return id
}
