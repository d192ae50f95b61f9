package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/weftq/weft/pkg/client"
)

// connectTimeout is how long a command waits for the answer of a broker that says nothing.
const connectTimeout = 5 * time.Second

// errNoAnswer is the end of that wait.
var errNoAnswer = fmt.Errorf("no answer within %v", connectTimeout)

// httpPort is where a broker has its health checks unless told otherwise.
const httpPort = "9339"

// grpcSchemes are what a gRPC target may begin with.
var grpcSchemes = []string{"dns", "passthrough", "unix", "unix-abstract", "ipv4", "ipv6", "xds"}

// BrokerAddr is the address to connect to, or what is wrong with it.
func (a *App) BrokerAddr() (string, error) {
	from := "--broker"
	if a.broker == "" {
		from = "$" + client.EnvBroker
	}
	addr := cmp.Or(a.broker, os.Getenv(client.EnvBroker), client.DefaultBroker)
	scheme, rest, isURL := strings.Cut(addr, "://")
	for _, known := range grpcSchemes {
		isURL = isURL && scheme != known
	}
	if isURL {
		return "", Usage("%s %s: an address is HOST:PORT, without %s://, such as %s", from, addr, scheme, bareAddr(addr, rest))
	}
	return client.WithPort(addr), nil
}

// bareAddr is the broker's address in place of a URL.
func bareAddr(text, rest string) string {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return rest
	}
	if port := u.Port(); port != "" && port != httpPort {
		return u.Host
	}
	_, port, _ := net.SplitHostPort(client.DefaultBroker)
	return net.JoinHostPort(u.Hostname(), port)
}

// Dial connects to the broker, or says that there is none.
func (a *App) Dial(ctx context.Context) (*client.Client, error) {
	addr, err := a.BrokerAddr()
	if err != nil {
		return nil, err
	}
	return a.dialTo(ctx, addr)
}

// dialSession is Dial for what is held in a session of that TTL.
func (a *App) dialSession(ctx context.Context, ttl time.Duration) (*client.Client, error) {
	addr, err := a.BrokerAddr()
	if err != nil {
		return nil, err
	}
	return a.dialTo(ctx, addr, client.WithSessionTTL(ttl))
}

func (a *App) dialTo(ctx context.Context, addr string, opts ...client.Option) (*client.Client, error) {
	c, err := client.Dial(addr, append(opts, client.WithNamespace(a.namespace), client.WithLogger(a.Logger()))...)
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAnswer)
	defer cancel()
	if err := c.Ping(short); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w (%s)", err, dialAdvice(addr, err))
	}
	return c, nil
}

// dialAdvice is what to do when there is no broker at an address.
func dialAdvice(addr string, err error) string {
	_, port, splitErr := net.SplitHostPort(addr)
	if strings.Contains(err.Error(), "not gRPC") || splitErr == nil && port == httpPort {
		return "a broker's address is that of gRPC, " + client.DefaultBroker + " by default; its health checks are on port " + httpPort
	}
	return "start one: weft dev, or weft broker; or name another: --broker"
}

// DialLocal connects to the broker, or to one of its own with --local. The second result ends both.
func (a *App) DialLocal(ctx context.Context, local bool) (*client.Client, func(), error) {
	if !local {
		c, err := a.Dial(ctx)
		return c, func() { _ = c.Close() }, err
	}
	b, err := a.Local(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.dialTo(ctx, b.Addr)
	if err != nil {
		b.Stop()
		return nil, nil, err
	}
	return c, func() { _ = c.Close(); b.Stop() }, nil
}
