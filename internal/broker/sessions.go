package broker

import (
	"context"
	"crypto/sha256"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"buf.build/go/protovalidate"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// sessionService implements SessionService.
type sessionService struct {
	weftv1.UnimplementedSessionServiceServer
	loop      *shard.Loop
	validator protovalidate.Validator
}

// OpenSession implements SessionService.
func (s *sessionService) OpenSession(ctx context.Context, req *weftv1.OpenSessionRequest) (*weftv1.OpenSessionResponse, error) {
	st := session.State{
		ID: newSessionID(), Namespace: orDefault(req.GetNamespace()), Kind: session.Client, Name: req.GetName(),
		TTL: session.TTLDefault, RequestID: req.GetRequestId(),
	}
	if req.GetTtl() != nil {
		st.TTL = req.GetTtl().AsDuration()
	}
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req) // it came in as one
	sum := sha256.Sum256(data)
	copy(st.RequestHash[:], sum[:])
	opened, err := do[session.State](ctx, s.loop, &shard.OpenSession{State: st})
	if err != nil {
		return nil, err
	}
	return &weftv1.OpenSessionResponse{SessionId: formatSession(opened.ID), Ttl: durationpb.New(opened.TTL)}, nil
}

// RenewSession implements SessionService.
func (s *sessionService) RenewSession(ctx context.Context, req *weftv1.RenewSessionRequest) (*weftv1.RenewSessionResponse, error) {
	ttl, err := s.renew(ctx, req.GetNamespace(), req.GetSessionId())
	if err != nil {
		return nil, err
	}
	return &weftv1.RenewSessionResponse{Ttl: durationpb.New(ttl)}, nil
}

func (s *sessionService) renew(ctx context.Context, namespace, id string) (time.Duration, error) {
	sid := parseSession(id)
	if sid.IsZero() {
		return 0, statusError(noSession(id))
	}
	return do[time.Duration](ctx, s.loop, &shard.RenewSession{Namespace: orDefault(namespace), ID: sid})
}

func noSession(id string) *pure.Refusal {
	return pure.Refuse(pure.SessionNotFound, "the session ended, or never was", "session_id", id)
}

// KeepSession implements SessionService.
func (s *sessionService) KeepSession(stream grpc.BidiStreamingServer[weftv1.KeepSessionRequest, weftv1.KeepSessionResponse]) error {
	requestC, endC := make(chan *weftv1.KeepSessionRequest), make(chan error, 1)
	go func() { // ended by the handler's return, which ends Recv and the context
		for {
			req, err := stream.Recv()
			if err != nil {
				endC <- err
				return
			}
			select {
			case requestC <- req:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	var first *weftv1.KeepSessionRequest
	for {
		select {
		case req := <-requestC:
			if first == nil {
				first = req
			}
			if err := s.keep(stream, first, req); err != nil {
				return err
			}
		case err := <-endC:
			return endOfStream(err)
		case <-s.loop.Over():
			return statusError(shard.NotReady())
		}
	}
}

// keep renews a session and answers.
func (s *sessionService) keep(stream grpc.ServerStreamingServer[weftv1.KeepSessionResponse], first, req *weftv1.KeepSessionRequest) error {
	if err := validate(s.validator, req); err != nil {
		return statusError(err)
	}
	switch {
	case req.GetSessionId() != "" && req.GetSessionId() != first.GetSessionId():
		return statusError(badFrame("session_id", "is for the first request"))
	case req.GetNamespace() != "" && req.GetNamespace() != first.GetNamespace():
		return statusError(badFrame("namespace", "is for the first request"))
	}
	ttl, err := s.renew(stream.Context(), first.GetNamespace(), first.GetSessionId())
	if err != nil {
		return err
	}
	return stream.Send(&weftv1.KeepSessionResponse{Ttl: durationpb.New(ttl)})
}

// CloseSession implements SessionService.
func (s *sessionService) CloseSession(ctx context.Context, req *weftv1.CloseSessionRequest) (*weftv1.CloseSessionResponse, error) {
	cmd := &shard.CloseSession{Namespace: orDefault(req.GetNamespace()), ID: parseSession(req.GetSessionId())}
	if _, err := s.loop.Do(ctx, cmd); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.CloseSessionResponse{}, nil
}

// ListSessions implements SessionService.
func (s *sessionService) ListSessions(ctx context.Context, req *weftv1.ListSessionsRequest) (*weftv1.ListSessionsResponse, error) {
	after, err := pageNumber(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	page, err := do[shard.SessionPage](ctx, s.loop, &shard.ListSessions{
		Namespace: orDefault(req.GetNamespace()), Kind: session.Kind(req.GetKind()), After: after, Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.ListSessionsResponse{NextPageToken: pageToken(page.Next)}
	for i := range page.Sessions {
		v := &page.Sessions[i]
		resp.Sessions = append(resp.Sessions, &weftv1.Session{
			Kind: weftv1.SessionKind(v.Kind), Name: v.Name, Ttl: durationpb.New(v.TTL), OpenedAt: timestamp(v.OpenedAt),
			Connected: v.Connected, Attempts: uint32(v.Attempts),
		})
	}
	return resp, nil
}
