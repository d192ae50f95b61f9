package broker

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/weftq/weft/internal/cron"
	"github.com/weftq/weft/internal/shard"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	messageBytesMax = 16 << 20 // of one gRPC message, either way
	streamsMax      = 10_000   // open at a time on one connection
	windowBytes     = 1 << 20  // gRPC flow control, per stream
)

// server is the gRPC server and its health.
type server struct {
	grpc   *grpc.Server
	health *health.Server
	over   chan struct{} // closed when the server begins to stop
}

// newServer returns a server of every service, not serving yet.
func newServer(loop *shard.Loop, times *cron.Table, cfg *Config) (*server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("broker: validation: %w", err)
	}
	onPanic := recovery.WithRecoveryHandler(func(p any) error {
		cfg.Logger.Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
		return statusError(ownBug("its log tells more"))
	})
	over := make(chan struct{})
	s := &server{
		grpc: grpc.NewServer(
			grpc.ChainUnaryInterceptor(recovery.UnaryServerInterceptor(onPanic), validateUnary(validator)),
			grpc.ChainStreamInterceptor(
				endReflection(over), recovery.StreamServerInterceptor(onPanic), awaitFirst(over, firstFrameMax, cfg.Logger), validateFirst(validator),
			),
			grpc.ForceServerCodecV2(newFrameCodec()),
			grpc.MaxRecvMsgSize(messageBytesMax),
			grpc.MaxSendMsgSize(messageBytesMax),
			grpc.MaxConcurrentStreams(streamsMax),
			grpc.InitialWindowSize(windowBytes),
			grpc.InitialConnWindowSize(4*windowBytes),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
			grpc.KeepaliveParams(cfg.keepalive()),
		),
		health: health.NewServer(),
		over:   over,
	}
	outputs := newOutputs()
	waiters := new(atomic.Uint64)
	weftv1.RegisterTaskServiceServer(s.grpc, &taskService{loop: loop, log: cfg.Logger, outputs: outputs, waiters: waiters})
	weftv1.RegisterWorkerServiceServer(s.grpc, &workerService{loop: loop, log: cfg.Logger, outputs: outputs})
	weftv1.RegisterQueueServiceServer(s.grpc, &queueService{loop: loop, waiters: waiters})
	weftv1.RegisterScheduleServiceServer(s.grpc, &scheduleService{loop: loop, times: times})
	weftv1.RegisterLockServiceServer(s.grpc, &lockService{loop: loop, log: cfg.Logger, validator: validator, waiters: waiters})
	weftv1.RegisterSessionServiceServer(s.grpc, &sessionService{loop: loop, validator: validator})
	healthv1.RegisterHealthServer(s.grpc, &healthService{s.health, over})
	reflection.Register(s.grpc)
	s.setServing(false)
	return s, nil
}

// keepalive says when gRPC looks after a connection that is silent. Those within a process need none.
func (cfg *Config) keepalive() keepalive.ServerParameters {
	if cfg.InProcess != nil {
		return keepalive.ServerParameters{Time: math.MaxInt64}
	}
	return keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}
}

// validateFirst validates the request of a server-streaming RPC. The frames of the other streams are
// checked by their handlers.
func validateFirst(v protovalidate.Validator) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if !info.IsClientStream {
			stream = &validatedStream{stream, v}
		}
		return next(srv, stream)
	}
}

type validatedStream struct {
	grpc.ServerStream
	validator protovalidate.Validator
}

// RecvMsg implements grpc.ServerStream.
func (s *validatedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	switch req := m.(type) {
	case *weftv1.WatchTaskRequest:
		return statusError(validate(s.validator, req))
	case *weftv1.WatchLockRequest:
		return statusError(validate(s.validator, req))
	case *weftv1.WatchValueRequest:
		return statusError(validate(s.validator, req))
	case *weftv1.WatchCallRequest:
		return statusError(validate(s.validator, req))
	}
	return nil
}

func (s *server) setServing(serving bool) {
	st := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", st)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, st)
	}
}

// watchReady keeps the health in step with the loop, and calls first when it is ready for the first time.
func (s *server) watchReady(ctx context.Context, loop *shard.Loop, first func()) {
	serving := false
	for {
		changed := loop.Changed()
		if now := loop.Ready(); now != serving {
			s.setServing(now)
			serving = now
			if now && first != nil {
				first()
				first = nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// stopping tells health checks that the server is about to go, and ends the streams that would stay. It is
// called once.
func (s *server) stopping() {
	s.health.Shutdown()
	close(s.over)
}

// stop waits for calls under way to end, but not for ever, and no longer than until now is closed.
func (s *server) stop(patience time.Duration, now <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	case <-now:
	}
	s.grpc.Stop()
	<-done
}
