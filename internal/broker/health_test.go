package broker

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/internal/pure"
)

// watchHealth watches a service's health until the stream ends.
func watchHealth(t *testing.T, h *harness, service string) (told <-chan healthv1.HealthCheckResponse_ServingStatus, end <-chan error) {
	t.Helper()
	stream, err := healthv1.NewHealthClient(h.conn).Watch(h.ctx(), &healthv1.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	toldC, endC := make(chan healthv1.HealthCheckResponse_ServingStatus, 10), make(chan error, 1)
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				close(toldC)
				endC <- err
				return
			}
			toldC <- m.GetStatus()
		}
	}()
	return toldC, endC
}

// Clients that watch the broker's health, or have asked for its services, do not hold it when it stops. They
// are told first.
func TestStandingStreamsDoNotHoldTheStop(t *testing.T) {
	h := newHarness(t)
	const serving, not, unknown = healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING,
		healthv1.HealthCheckResponse_SERVICE_UNKNOWN
	want := map[string][]healthv1.HealthCheckResponse_ServingStatus{
		"": {serving, not}, "weft.v1.TaskService": {serving, not}, "nobody's": {unknown},
	}
	type watch struct {
		told <-chan healthv1.HealthCheckResponse_ServingStatus
		end  <-chan error
		got  []healthv1.HealthCheckResponse_ServingStatus
	}
	watches := map[string]*watch{}
	for service := range want {
		told, end := watchHealth(t, h, service)
		watches[service] = &watch{told, end, []healthv1.HealthCheckResponse_ServingStatus{<-told}}
	}
	info, err := reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := info.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := info.Recv(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	h.stop()
	if took := time.Since(begun); took >= stopTimeout {
		t.Errorf("the stop took %v", took)
	}
	if _, err := info.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("reflection ended with %v", err)
	}
	for service, w := range watches {
		for st := range w.told {
			w.got = append(w.got, st)
		}
		if !slices.Equal(w.got, want[service]) {
			t.Errorf("%q was told %v, want %v", service, w.got, want[service])
		}
		wantRefusal(t, <-w.end, pure.NotReady)
	}
}

// A watch that its client ends ends as it always did.
func TestHealthWatchEndsWithItsClient(t *testing.T) {
	h := newHarness(t)
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := healthv1.NewHealthClient(h.conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) || status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
}
