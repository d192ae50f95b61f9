package client

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"
)

// WithPort adds the broker's usual port to a host that has none.
func WithPort(addr string) string {
	_, port, _ := net.SplitHostPort(DefaultBroker)
	switch {
	case net.ParseIP(addr) != nil: // an IPv6 address has colons of its own
		return net.JoinHostPort(addr, port)
	case strings.Contains(addr, ":"):
		return addr
	}
	return addr + ":" + port
}

// unixSchemes are those of targets that gRPC reads without slashes.
var unixSchemes = []string{"unix:", "unix-abstract:"}

// hostName is what a host may be made of: letters of any alphabet, as names may be international.
var hostName = regexp.MustCompile(`^[\pL\pN._%:-]*$`)

// checkAddr refuses an address that nothing can be dialled by: gRPC would take most of them for names that may be known
// later, and try for ever. The program's own options may know a scheme.
func checkAddr(addr string, options bool) error {
	scheme, _, isTarget := strings.Cut(addr, "://")
	for _, s := range unixSchemes {
		if strings.HasPrefix(addr, s) {
			return nil
		}
	}
	switch {
	case isTarget && scheme != "http" && scheme != "https" && (options || resolver.Get(scheme) != nil):
		return nil // gRPC's to judge
	case isTarget:
		return fmt.Errorf("client: broker address %q: %s:// is no scheme of gRPC; an address is HOST:PORT", addr, scheme)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		if scheme, _, _ = strings.Cut(addr, ":"); resolver.Get(scheme) != nil {
			return nil // dns:host:port
		}
		return fmt.Errorf("client: broker address: %w; an address is HOST:PORT", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("client: broker address %q: the port %q is not from 1 to 65535", addr, port)
	}
	if !hostName.MatchString(host) {
		return fmt.Errorf("client: broker address %q: the host %q is no name and no IP address", addr, host)
	}
	return nil
}
