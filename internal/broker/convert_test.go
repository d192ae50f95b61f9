package broker

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A list shows how a command begins, and nothing of what can be large or secret.
func TestCommandHead(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct{ argv, want []string }{
		"short":        {[]string{"sh", "", "-c"}, []string{"sh", "", "-c"}},
		"just fits":    {[]string{x(200), x(56)}, []string{x(200), x(56)}},
		"one too much": {[]string{x(200), x(57)}, []string{x(200), x(56) + "…"}},
		"more follow":  {[]string{x(256), "a", "b"}, []string{x(256) + "…"}},
		"cut rune":     {[]string{x(255) + "äb"}, []string{x(255) + "…"}},
	} {
		data, err := proto.Marshal(&weftv1.Command{
			Argv: test.argv, Shell: true, Dir: "/", Env: map[string]string{"KEY": "secret"}, Stdin: []byte("much"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := commandHead(data); !slices.Equal(got.GetArgv(), test.want) || !got.GetShell() ||
			got.GetEnv() != nil || got.GetStdin() != nil || got.GetDir() != "" {
			t.Errorf("%s: %v", name, got)
		}
	}
}
