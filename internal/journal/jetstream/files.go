package jetstream

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// shardFiles is what a shard has on disk, before the server may touch it.
type shardFiles struct {
	name    string
	subject string
	dir     string // of the stream, which the server creates
	entries int    // what the block files hold
	mark    *watermark
}

// examine verifies a shard's files. The caller closes the mark, or hands it to a Stream.
func examine(cfg Config, shard int) (*shardFiles, error) {
	n := strconv.Itoa(shard)
	f := &shardFiles{name: "WEFT_" + n, subject: "weft.journal." + n}
	f.dir = filepath.Join(cfg.Dir, "jetstream", "$G", "streams", f.name)
	var err error
	if f.entries, err = verifyBlocks(f.dir, f.name, f.subject); err != nil {
		return nil, err
	}
	if f.mark, err = openWatermark(filepath.Join(cfg.Dir, f.name+".mark")); err != nil {
		return nil, err
	}
	if cfg.Durability == Interval && f.mark.reboot {
		if err := f.forgetIndex(); err != nil {
			return nil, errors.Join(err, f.mark.close())
		}
	}
	return f, nil
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
