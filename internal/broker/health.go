package broker

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weftq/weft/internal/shard"
)

// healthService is gRPC's, but that its streams end when the broker begins to stop: clients hold them for
// as long as they are connected, and the broker would wait for them.
type healthService struct {
	*health.Server
	over <-chan struct{} // closed after Shutdown
}

// Watch implements grpc_health_v1.HealthServer.
func (s *healthService) Watch(req *healthv1.HealthCheckRequest, stream healthv1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		select {
		case <-s.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	watch := &healthStream{Health_WatchServer: stream, ctx: ctx}
	err := s.Server.Watch(req, watch)
	select {
	case <-s.over:
	default:
		return err
	}
	// Whether it told the end of serving before it ended is a race of the two.
	if last, err := s.Check(ctx, req); err == nil && last.GetStatus() != watch.told {
		if err := stream.Send(last); err != nil {
			return err
		}
	}
	return statusError(shard.NotReady())
}

// healthStream is a stream that ends with another context, and knows what it has told.
type healthStream struct {
	healthv1.Health_WatchServer
	ctx  context.Context
	told healthv1.HealthCheckResponse_ServingStatus
}

// Context implements grpc.ServerStream.
func (s *healthStream) Context() context.Context { return s.ctx }

// Send implements grpc_health_v1.Health_WatchServer.
func (s *healthStream) Send(m *healthv1.HealthCheckResponse) error {
	s.told = m.GetStatus()
	return s.Health_WatchServer.Send(m)
}

// endReflection ends the streams of reflection when the broker begins to stop, for the same reason. It comes
// before the other interceptors: what runs beside it has to be recovered from there.
func endReflection(over <-chan struct{}) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if !strings.HasPrefix(info.FullMethod, "/grpc.reflection.") {
			return next(srv, stream)
		}
		doneC := make(chan error, 1)
		go func() { doneC <- next(srv, stream) }() // ended by the return of this, which ends Recv
		select {
		case err := <-doneC:
			return err
		case <-over:
			return statusError(shard.NotReady())
		}
	}
}
