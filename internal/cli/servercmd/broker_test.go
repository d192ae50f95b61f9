package servercmd

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/cli"
)

// A port that is in use is named, and so is the flag that chooses another one.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	addr, dir := l.Addr().String(), t.TempDir()
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	t.Setenv("TMPDIR", dir)
	w := &weftProgram{t: t}
	grpc := "weft: the gRPC address " + addr + " is in use, perhaps by another broker (another one: --listen ADDRESS)\n"
	http := "weft: the HTTP address " + addr + " is in use, perhaps by another broker (another one: --http ADDRESS; none: --http off)\n"
	for _, command := range []string{"broker", "dev"} {
		w.want(run{125, "", grpc}, command, "--listen", addr, "--http", "off")
		w.want(run{125, "", http}, command, "--listen", "127.0.0.1:0", "--http", addr)
	}
	wantEmpty(t, dir)
}

func TestWarnOpen(t *testing.T) {
	for addr, warns := range map[string]bool{
		"127.0.0.1:9338": false, "[::1]:9338": false, "unix:/run/weft": false,
		"[::]:9338": true, "0.0.0.0:9338": true, "10.0.0.1:9338": true,
	} {
		var said buffer
		warnOpen(&cli.App{Name: "weft", Err: &said}, addr)
		if got := strings.Contains(said.String(), "no authentication yet"); got != warns {
			t.Errorf("%s: it says %q", addr, said.String())
		}
	}
}
