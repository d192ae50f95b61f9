package jetstream

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/weftq/weft/internal/journal"
)

// account is the server's own, for clients that name none.
const account = "$G"

// shardFiles is what a shard has on disk, before the server may touch it.
type shardFiles struct {
	name    string
	subject string
	dir     string // of the stream, which the server creates
	first   uint64 // oldest entry in the block files, 0 if there is none
	last    uint64 // newest one
	mark    *watermark
}

// examine verifies a shard's files. The caller closes the mark.
func examine(cfg Config, shard int) (f *shardFiles, err error) {
	n := strconv.Itoa(shard)
	f = &shardFiles{name: "WEFT_" + n, subject: "weft.journal." + n}
	f.dir = filepath.Join(cfg.Dir, "jetstream", account, "streams", f.name)
	if f.first, f.last, err = verifyBlocks(f.dir, f.name, f.subject); err != nil {
		return nil, err
	}
	if f.mark, err = openWatermark(filepath.Join(cfg.Dir, f.name+".mark")); err != nil {
		return nil, err
	}
	if cfg.Durability == Interval && f.mark.reboot {
		err = f.forgetIndex()
	} else {
		err = f.holdPromise()
	}
	if err != nil {
		return nil, errors.Join(err, f.mark.close())
	}
	return f, nil
}

// holdPromise holds the entries on disk against what was acknowledged. Where the newest ones are gone, the
// server would go by its index of the blocks, and leave a hole at the end.
func (f *shardFiles) holdPromise() error {
	if !f.mark.known {
		return nil
	}
	st := journal.State{First: f.first, Last: f.last}
	if f.first == 0 {
		st.First = max(f.mark.below, 1)
		st.Last = st.First - 1
	}
	if err := f.mark.check(st, f.mark.last); err != nil {
		return fmt.Errorf("jetstream: %s: %w; nothing was changed: restore the directory from a backup, or move it away to begin without its tasks", f.dir, err)
	}
	return nil
}

// forgetIndex removes the server's summary of the blocks, which it then rebuilds from them. After a crash
// of the machine the summary may know of entries that never reached the disk, and the server would believe
// it: the stream would have a hole for ever.
func (f *shardFiles) forgetIndex() error {
	err := os.Remove(filepath.Join(f.dir, "msgs", "index.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("jetstream: %w", err)
	}
	return nil
}
