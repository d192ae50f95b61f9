package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Durability says when an append is acknowledged.
type Durability string

const (
	// Always acknowledges an append after its fsync. It is the default.
	Always Durability = "always"

	// Interval acknowledges an append when the operating system has it, and lets fsync follow within
	// Config.SyncInterval. A crash of the process loses nothing; a crash of the machine or a power
	// failure loses up to that much acknowledged work.
	Interval Durability = "interval"
)

const (
	defaultSyncInterval  = time.Second
	defaultAppendTimeout = 10 * time.Second
	startTimeout         = 30 * time.Second
)

// Config says where and how a store keeps its streams.
type Config struct {
	// Dir is the store's directory. Open creates it; no two stores may share it.
	Dir string

	// Shards is the number of streams, 1 by default. It may grow from one Open to the next.
	Shards int

	// Durability is Always by default.
	Durability Durability

	// SyncInterval is the time between two fsyncs with Durability Interval, 1 s by default, at least
	// 10 ms.
	SyncInterval time.Duration

	// AppendTimeout bounds an append whose context has no deadline, 10 s by default.
	AppendTimeout time.Duration

	// Logger gets what the server has to say; by default nobody does.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("jetstream: no directory given")
	}
	if c.Shards == 0 {
		c.Shards = 1
	}
	if c.Durability == "" {
		c.Durability = Always
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = defaultSyncInterval
	}
	if c.AppendTimeout == 0 {
		c.AppendTimeout = defaultAppendTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Shards < 0:
		return c, fmt.Errorf("jetstream: %d shards", c.Shards)
	case c.Durability != Always && c.Durability != Interval:
		return c, fmt.Errorf("jetstream: durability %q is neither %q nor %q", c.Durability, Always, Interval)
	case c.SyncInterval < 10*time.Millisecond:
		return c, fmt.Errorf("jetstream: sync interval %v is below 10 ms", c.SyncInterval)
	case c.AppendTimeout < 0:
		return c, fmt.Errorf("jetstream: append timeout %v", c.AppendTimeout)
	}
	return c, nil
}
