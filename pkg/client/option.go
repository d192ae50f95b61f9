package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
)

// DefaultBroker is where a broker listens unless told otherwise.
const DefaultBroker = "127.0.0.1:9338"

// Environment variables that [Dial] reads.
const (
	EnvBroker    = "WEFT_BROKER"    // the broker's address
	EnvNamespace = "WEFT_NAMESPACE" // the namespace
	EnvKey       = "WEFT_KEY"       // the credential
)

// defaultSessionTTL is how long a client may be silent before the broker gives it up.
const defaultSessionTTL = 10 * time.Second

// config is what the options say.
type config struct {
	namespace  string
	name       string
	key        string
	sessionTTL time.Duration
	logger     *slog.Logger
	grpc       []grpc.DialOption
}

// newConfig has the defaults.
func newConfig() config {
	return config{
		namespace:  os.Getenv(EnvNamespace),
		name:       processName(),
		key:        os.Getenv(EnvKey),
		sessionTTL: defaultSessionTTL,
		logger:     slog.New(slog.DiscardHandler),
	}
}

// namespaceName is what a namespace may be named; empty is "default".
var namespaceName = regexp.MustCompile(`^[A-Za-z0-9._/-]{0,256}$`)

// clientNameMax is the longest name of a client, in bytes.
const clientNameMax = 256

// check finds options that make no sense.
func (c *config) check() error {
	switch {
	case !namespaceName.MatchString(c.namespace):
		return fmt.Errorf("client: the namespace %q: at most 256 bytes of A-Z a-z 0-9 . _ / -", c.namespace)
	case len(c.name) > clientNameMax || !utf8.ValidString(c.name):
		return fmt.Errorf("client: the name %q: at most %d bytes of UTF-8", c.name, clientNameMax)
	case strings.ContainsFunc(c.key, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("client: the key has bytes that are not printable ASCII") // and is nobody's to read
	case c.sessionTTL < minTTL || c.sessionTTL > maxTTL:
		return fmt.Errorf("client: the session TTL %v is not from %v to %v", c.sessionTTL, minTTL, maxTTL)
	case c.logger == nil:
		return errors.New("client: WithLogger(nil): by default nothing is logged")
	}
	return nil
}

// processName is the default name: program, process and host.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := fmt.Sprintf("%s.%d@%s", filepath.Base(os.Args[0]), os.Getpid(), host)
	return strings.ToValidUTF8(name[:min(len(name), clientNameMax)], "")
}

// Option changes a client.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithNamespace sets the namespace, at most 256 bytes of [A-Za-z0-9._/-]. Default WEFT_NAMESPACE, else "default".
func WithNamespace(namespace string) Option {
	return optionFunc(func(c *config) { c.namespace = namespace })
}

// WithName sets the client's name for people, at most 256 bytes. Default program, process and host.
func WithName(name string) Option {
	return optionFunc(func(c *config) { c.name = name })
}

// WithKey sets the credential, sent as "authorization: Bearer KEY" with every request. Default WEFT_KEY.
// Without transport security it is readable on the way.
func WithKey(key string) Option {
	return optionFunc(func(c *config) { c.key = key })
}

// WithSessionTTL sets how long the client's sessions outlive it: 1 s to 1 h, default 10 s.
func WithSessionTTL(ttl time.Duration) Option {
	return optionFunc(func(c *config) { c.sessionTTL = ttl })
}

// WithLogger has lost streams and redials logged. By default nothing is.
func WithLogger(logger *slog.Logger) Option {
	return optionFunc(func(c *config) { c.logger = logger })
}

// WithGRPC adds gRPC options, such as transport credentials: the default is none, for loopback.
func WithGRPC(opts ...grpc.DialOption) Option {
	return optionFunc(func(c *config) { c.grpc = append(c.grpc, opts...) })
}

// bearer sends the key with every request.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }
