package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog hands the server's log lines to a slog.Logger. What the server calls a notice is detail to
// whoever runs a broker.
type serverLog struct {
	log   *slog.Logger
	fatal *atomic.Pointer[string] // the first reason for which the server gave up
}

var _ server.Logger = serverLog{}

func (l serverLog) at(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, fmt.Sprintf(format, v...), "from", "nats-server")
	}
}

func (l serverLog) Noticef(format string, v ...any) { l.at(slog.LevelDebug, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.at(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.at(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.at(slog.LevelWarn, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.at(slog.LevelError, format, v) }

// Fatalf logs and remembers: the server's own logger would end the process here.
func (l serverLog) Fatalf(format string, v ...any) {
	l.at(slog.LevelError, format, v)
	reason := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &reason)
}
