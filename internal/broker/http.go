package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weftq/weft/internal/shard"
)

// serveHTTP serves the health checks: /healthz says that the process lives, /readyz that it decides. They
// are answered until the calls have been stopped.
func (cfg *Config) serveHTTP(stopped <-chan struct{}, group *errgroup.Group, loop *shard.Loop, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !loop.Ready() {
			http.Error(w, "not ready: starting, recovering or shutting down", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	group.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-stopped
		stop, cancel := context.WithTimeout(context.Background(), time.Second) // who does not read its answer is cut off
		defer cancel()
		if s.Shutdown(stop) != nil {
			return s.Close()
		}
		return nil
	})
}
