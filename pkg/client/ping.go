package client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Ping tells whether the broker is there: nil once the connection stands, else why it does not. It waits
// for an attempt to connect, and not for a broker that is about to start: a refused connection is told at
// once. When ctx ends before anybody has answered, the error wraps its cause.
func (c *Client) Ping(ctx context.Context) error {
	conn := c.current()
	for {
		conn.Connect()
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Shutdown:
			return ErrClosed
		case connectivity.TransientFailure:
			return c.noBroker(whyNotReady(ctx, conn))
		}
		if !conn.WaitForStateChange(ctx, state) {
			return c.noBroker(context.Cause(ctx))
		}
	}
}

// noBroker says that there is none; nil stays nil.
func (c *Client) noBroker(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("client: no broker at %s: %w", c.addr, err)
}

// whyTimeout bounds the request that asks for the error: a connection that has failed answers at once.
const whyTimeout = 2 * time.Second

// whyNotReady finds the error of the last attempt to connect, which gRPC only tells to a request; nil if
// somebody answers it after all.
func whyNotReady(ctx context.Context, conn *grpc.ClientConn) error {
	short, cancel := context.WithTimeout(ctx, whyTimeout)
	defer cancel()
	_, err := weftv1.NewQueueServiceClient(conn).GetQueue(short, &weftv1.GetQueueRequest{})
	if short.Err() != nil {
		return context.Cause(short)
	}
	var e *Error
	if !errors.As(fromRPC(err), &e) || e.Code != codes.Unavailable || e.Reason != weftv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return nil // a broker's own word, whatever it is
	}
	return &connectError{dialWords(e.Message), e}
}

// connectError is a failed attempt to connect, in fewer words than gRPC's.
type connectError struct {
	words string
	err   *Error
}

// Error implements error.
func (e *connectError) Error() string { return e.words }

// Unwrap gives gRPC's error.
func (e *connectError) Unwrap() error { return e.err }

// dialed is what a failed dial begins with: what was dialed, which stands before it already, and the call.
var dialed = regexp.MustCompile(`^dial \S+ \S+: (?:connect: )?`)

// dialWords takes gRPC's wrapping off the error of a connection, as far as it knows it.
func dialWords(message string) string {
	words := message
	if _, desc, ok := strings.Cut(message, "connection error: desc = "); ok {
		if text, err := strconv.Unquote(desc); err == nil {
			words = text
		}
	}
	words = strings.TrimPrefix(words, "transport: ")
	words = strings.TrimPrefix(words, "Error while dialing: ")
	if strings.Contains(words, "looked like an HTTP/1.1 header") {
		return "it speaks HTTP, not gRPC"
	}
	return dialed.ReplaceAllString(words, "")
}
