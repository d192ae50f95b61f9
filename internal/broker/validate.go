package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
)

// validateUnary refuses requests that break the annotations of their message.
func validateUnary(v protovalidate.Validator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := validate(v, req.(proto.Message)); err != nil {
			return nil, statusError(err)
		}
		return next(ctx, req)
	}
}

// validate checks a message against its annotations and names the first field that breaks its rule.
func validate(v protovalidate.Validator, m proto.Message) error {
	err := v.Validate(m)
	if err == nil {
		return nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) || len(broken.Violations) == 0 {
		return fmt.Errorf("broker: validation: %w", err)
	}
	first := broken.Violations[0].Proto
	return invalid(protovalidate.FieldPathString(first.GetField()), first.GetMessage())
}

// Checks of names by hand, for the streams. A fuzz test proves them equal to the annotations.

const nameBytesMax = 256

func nameOK(s string, bytesMin int) bool {
	if len(s) < bytesMin || len(s) > nameBytesMax {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("._/-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

const nameRule = "must be at most 256 bytes of [A-Za-z0-9._/-]"

// namespaceOr checks a namespace of a stream's first frame and fills in the default.
func namespaceOr(field, s string) (string, *pure.Refusal) {
	if !nameOK(s, 0) {
		return "", invalid(field, nameRule)
	}
	return orDefault(s), nil
}

func orDefault(s string) string {
	if s == "" {
		return "default"
	}
	return s
}
