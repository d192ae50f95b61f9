package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Store is an embedded server with one stream per shard.
type Store struct {
	cfg     Config
	srv     *server.Server
	marks   []*watermark
	streams []*Stream

	closeOnce sync.Once
	closeErr  error
}

// Open starts the server on a directory and opens its streams, creating those that are not there. The
// directory must be this process's alone. After Close it can be opened again, in the same process too.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	st := &Store{cfg: cfg}
	files := make([]*shardFiles, cfg.Shards)
	for shard := range files {
		if files[shard], err = examine(cfg, shard); err != nil {
			return nil, errors.Join(err, st.Close())
		}
		st.marks = append(st.marks, files[shard].mark)
	}
	if st.srv, err = startServer(cfg); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	for _, f := range files {
		s, err := st.openStream(ctx, f)
		if err != nil {
			return nil, errors.Join(err, st.Close())
		}
		st.streams = append(st.streams, s)
	}
	return st, nil
}

// Stream returns a shard's stream. Closing it releases its connection; the store stays open.
func (st *Store) Stream(shard int) *Stream { return st.streams[shard] }

// LossWindow is how much acknowledged work, in time, a crash of the machine can lose: 0 means none. A disk
// that takes long over a sync adds to it. A crash of the process alone loses nothing in any case.
func (st *Store) LossWindow() time.Duration {
	if st.cfg.Durability == Always {
		return 0
	}
	return st.cfg.SyncInterval
}

// Close closes the streams and stops the server. An append under way may be stored or not.
func (st *Store) Close() error {
	st.closeOnce.Do(func() {
		for _, s := range st.streams {
			st.closeErr = errors.Join(st.closeErr, s.Close())
		}
		if st.srv != nil {
			stopServer(st.srv)
		}
		for _, w := range st.marks {
			st.closeErr = errors.Join(st.closeErr, w.close())
		}
	})
	return st.closeErr
}
