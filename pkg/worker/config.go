package worker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
)

const (
	// SessionTTLDefault is the default of Config.SessionTTL.
	SessionTTLDefault = 10 * time.Second
	// DrainTimeoutDefault is the default of Config.DrainTimeout.
	DrainTimeoutDefault = 30 * time.Second

	weightMax    = 100
	slotsMax     = 100_000
	queuesMax    = 100
	nameBytesMax = 256
)

// nameRule is the API's for names.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,256}$`)

// Config is what a worker is made of. Everything has a default.
type Config struct {
	// Broker is the broker's address, host:port, or a gRPC target. As with [client.Dial], empty is WEFT_BROKER, else
	// 127.0.0.1:9338, whose port a host alone has too. Not with Conn.
	//
	// [client.Dial]: https://pkg.go.dev/github.com/weftq/weft/pkg/client#Dial
	Broker string
	// DialOptions are added to the worker's own; the last one wins. Without any, the connection is not
	// encrypted.
	DialOptions []grpc.DialOption
	// Conn is used instead of Broker, and not closed. A connection that is dead without saying so is
	// then as dead as its keepalive allows: with Broker the worker dials again instead.
	Conn *grpc.ClientConn

	// Namespace to serve, at most 256 bytes of [A-Za-z0-9._/-]. Empty is WEFT_NAMESPACE, else "default".
	Namespace string
	// Queues to serve, 1 to 100, named as namespaces are. Default "default".
	Queues []string
	// QueueWeights are shares of queues that have tasks at a time, 1 to 100: of one with weight 3 and one with weight
	// 1, the first gives three of four tasks. Default 1 each.
	QueueWeights map[string]int
	// Name for people, at most 256 bytes. Default HOST:PID.
	Name string
	// Labels for people.
	Labels map[string]string
	// Slots is how many tasks run at a time, 1 to 100,000. Default: one for each CPU.
	Slots int

	// SessionTTL is how long the broker waits for a sign of life before it gives this worker's tasks
	// to others: 1 s to 1 h, default 10 s.
	SessionTTL time.Duration
	// DrainTimeout is how long running attempts may go on once Run's context is done. Default 30 s;
	// negative is not at all. Then they are told to stop; commands are killed after their grace, and a handler that does
	// not heed its context is waited for up to 30 s beyond that, as the log says.
	DrainTimeout time.Duration

	// Output says how much of commands' output is kept.
	Output OutputConfig

	// Logger hears of connections and of what goes wrong, and never sees a payload. Default: nobody.
	Logger *slog.Logger
}

// OutputConfig limits the output of commands that is kept in this process for those who read it: while
// a command runs, and afterwards until its report is accepted. Where the report does not have all of
// it, it stays until nobody can ask for it any more.
type OutputConfig struct {
	// SpoolDir is where large output goes, in files without names. Default os.TempDir().
	SpoolDir string
	// AttemptBytesMax limits the files of one attempt. Default 1 GiB.
	AttemptBytesMax int64
	// TotalBytesMax limits what is kept of all commands that have ended; the oldest goes first.
	// Default 4 GiB.
	TotalBytesMax int64
	// KeepFor is how long output is kept after the report was accepted. Default 10 min.
	KeepFor time.Duration
}

func (c Config) withDefaults() Config {
	if c.Conn == nil {
		c.Broker = brokerAddr(c.Broker)
	}
	c.Namespace = cmp.Or(c.Namespace, os.Getenv("WEFT_NAMESPACE"))
	if len(c.Queues) == 0 {
		c.Queues = []string{"default"}
	}
	if c.Name == "" {
		host, _ := os.Hostname()
		c.Name = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	setDefault(&c.SessionTTL, SessionTTLDefault)
	setDefault(&c.DrainTimeout, DrainTimeoutDefault)
	setDefault(&c.Output.TotalBytesMax, 4<<30)
	setDefault(&c.Output.KeepFor, 10*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int64 | time.Duration](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

// brokerAddr is where the broker is, found as [client.Dial] does: the two packages do not import each other.
//
// [client.Dial]: https://pkg.go.dev/github.com/weftq/weft/pkg/client#Dial
func brokerAddr(addr string) string {
	const host, port = "127.0.0.1", ":9338"
	addr = cmp.Or(addr, os.Getenv("WEFT_BROKER"), host)
	if !strings.Contains(addr, ":") {
		addr += port
	}
	return addr
}

// checkAddr refuses what can be no broker's address. A target with a scheme is for gRPC to judge, but for that of a URL.
func checkAddr(addr string) error {
	scheme, _, isURL := strings.Cut(addr, "://")
	switch {
	case isURL && (scheme == "http" || scheme == "https"):
		return fmt.Errorf("worker: the broker %q: an address is host:port, without %s://", addr, scheme)
	case isURL, strings.HasPrefix(addr, "unix:"), strings.HasPrefix(addr, "unix-abstract:"):
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("worker: the broker %q: an address is host:port: %w", addr, err)
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n") {
		return fmt.Errorf("worker: the broker %q: there is no host %q", addr, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("worker: the broker %q: the port %q; 1 to 65535 are possible", addr, port)
	}
	return nil
}

func (c Config) validate() error {
	switch {
	case c.Broker != "" && c.Conn != nil:
		return errors.New("worker: Broker or Conn, one of them")
	case !nameRule.MatchString(c.Namespace) && c.Namespace != "":
		return fmt.Errorf("worker: namespace: %q is no name: 1 to 256 bytes of A-Z a-z 0-9 . _ / -", c.Namespace)
	case len(c.Queues) > queuesMax:
		return fmt.Errorf("worker: %d queues; 1 to %d are possible", len(c.Queues), queuesMax)
	case len(c.Name) > nameBytesMax:
		return fmt.Errorf("worker: a name of %d bytes; %d are possible", len(c.Name), nameBytesMax)
	case c.Slots < 1 || c.Slots > slotsMax:
		return fmt.Errorf("worker: %d slots; 1 to %d are possible", c.Slots, slotsMax)
	case c.SessionTTL < time.Second || c.SessionTTL > time.Hour:
		return fmt.Errorf("worker: a session TTL of %v; 1 s to 1 h is possible", c.SessionTTL)
	}
	if c.Conn == nil {
		if err := checkAddr(c.Broker); err != nil {
			return err
		}
	}
	for _, name := range c.Queues {
		if !nameRule.MatchString(name) {
			return fmt.Errorf("worker: queues: %q is no name: 1 to 256 bytes of A-Z a-z 0-9 . _ / -", name)
		}
	}
	for name, weight := range c.QueueWeights {
		if !slices.Contains(c.Queues, name) {
			return fmt.Errorf("worker: a weight for queue %q, which is not among the queues to serve", name)
		}
		if weight < 1 || weight > weightMax {
			return fmt.Errorf("worker: the weight %d of queue %q; 1 to %d are possible", weight, name, weightMax)
		}
	}
	return nil
}
