package arch

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sound is a small module that keeps every rule.
func sound() *Module {
	return &Module{
		Packages: []Package{
			{Path: "./cmd/client", Imports: []string{"./internal/cli/remote", "os"}},
			{Path: "./cmd/weft", Imports: []string{"./internal/cli"}},
			{Path: "./examples/resize", Imports: []string{"./pkg/client", "./pkg/worker"}},
			{Path: "./internal/broker", Imports: []string{"./internal/shard", "./internal/cluster", "./proto/weft/v1"}},
			{Path: "./internal/cli", Imports: []string{"./internal/broker", "./internal/cli/remote", "./pkg/worker"}},
			{Path: "./internal/cli/remote", Imports: []string{"./pkg/client"}},
			{Path: "./internal/journal/jetstream", Imports: []string{"./internal/journal", "github.com/nats-io/nats.go"}},
			{
				Path:        "./internal/shard",
				Imports:     []string{"./internal/journal", "./pkg/queue", "./proto/weft/journal/v1", "sync"},
				TestImports: []string{"./internal/sim"},
			},
			{Path: "./pkg/client", Imports: []string{"./pkg/task", "./proto/weft/v1", "context"}},
			{Path: "./internal/pure/order", Imports: []string{"cmp"}},
			{
				Path:        "./pkg/queue",
				Imports:     []string{"./internal/pure/order", "./pkg/session", "time"},
				TestImports: []string{"math/rand/v2", "os"},
			},
			{Path: "./pkg/wefttest", Imports: []string{"./internal/broker", "testing"}},
			{Path: "./pkg/worker", Imports: []string{"./pkg/task"}},
		},
		Linked: map[string]map[string][]string{
			"./cmd/client": {"./cmd/client": {"./internal/cli/remote", "os"}, "./internal/cli/remote": {"./pkg/client"}},
		},
		GoMod: GoMod{Requires: []string{"google.golang.org/grpc", "google.golang.org/protobuf"}},
	}
}

func TestSoundModuleBreaksNoRule(t *testing.T) {
	for _, rule := range Rules() {
		for _, b := range rule.Check(sound()) {
			t.Errorf("%s: %s", rule.Name, b)
		}
	}
}

func TestEmptyModuleBreaksNoRule(t *testing.T) {
	for _, rule := range Rules() {
		for _, b := range rule.Check(&Module{}) {
			t.Errorf("%s: %s", rule.Name, b)
		}
	}
}

// TestRulesBite breaks every rule in every way that it knows of, each in an otherwise sound
// module, and expects it to say so.
func TestRulesBite(t *testing.T) {
	imports := func(path string, imported ...string) func(*Module) {
		return func(m *Module) { m.Packages = append(m.Packages, Package{Path: path, Imports: imported}) }
	}
	tests := []struct {
		rule  string
		spoil func(*Module)
		says  string
	}{
		{"imports point down", imports("./internal/shard", "./internal/broker"), "./internal/shard imports ./internal/broker, which is of a higher layer"},
		{"imports point down", imports("./pkg/task", "./pkg/client"), "./pkg/task imports ./pkg/client, which is of a higher layer"},
		{"imports point down", imports("./pkg/client", "./pkg/worker"), "./pkg/client imports ./pkg/worker, which is of the same layer"},
		{"imports point down", imports("./internal/fresh"), "./internal/fresh has no layer yet: add it to the list in internal/arch/layers.go"},

		{"the cores are pure", imports("./pkg/queue", "math/rand"), "./pkg/queue imports math/rand"},
		{"the cores are pure", imports("./pkg/queue", "math/rand/v2"), "./pkg/queue imports math/rand/v2"},
		{"the cores are pure", imports("./pkg/session", "crypto/rand"), "./pkg/session imports crypto/rand"},
		{"the cores are pure", imports("./pkg/session", "hash/maphash"), "./pkg/session imports hash/maphash"},
		{"the cores are pure", imports("./pkg/session", "os"), "./pkg/session imports os"},
		{"the cores are pure", imports("./pkg/session", "os/exec"), "./pkg/session imports os/exec"},
		{"the cores are pure", imports("./pkg/session", "net/url"), "./pkg/session imports net/url"},
		{"the cores are pure", imports("./pkg/lockservice", "context"), "./pkg/lockservice imports context"},
		{"the cores are pure", imports("./pkg/lockservice", "sync"), "./pkg/lockservice imports sync"},
		{"the cores are pure", imports("./pkg/lockservice", "sync/atomic"), "./pkg/lockservice imports sync/atomic"},
		{"the cores are pure", imports("./pkg/lockservice", "log/slog"), "./pkg/lockservice imports log/slog"},
		{"the cores are pure", imports("./pkg/queue", "google.golang.org/protobuf/proto"), "./pkg/queue imports google.golang.org/protobuf/proto"},
		{"the cores are pure", imports("./pkg/queue", "./proto/weft/v1"), "./pkg/queue imports ./proto/weft/v1"},
		{"the cores are pure", imports("./internal/pure/order", "sync"), "./internal/pure/order imports sync"},
		{"the cores are pure", imports("./internal/pure/order", "./pkg/task"), "./internal/pure/order imports ./pkg/task"},
		{"the cores are pure", func(m *Module) {
			m.Packages = append(m.Packages, Package{Path: "./pkg/queue", Impure: []string{"time.Now in a.go:7"}})
		}, "./pkg/queue: time.Now in a.go:7"},

		{"SDKs stand alone", imports("./pkg/client", "./internal/broker"), "./pkg/client imports ./internal/broker"},
		{"SDKs stand alone", imports("./pkg/worker/command", "./internal/journal"), "./pkg/worker/command imports ./internal/journal"},
		{"SDKs stand alone", imports("./pkg/task", "./internal/arch"), "./pkg/task imports ./internal/arch"},

		{"examples use the public API", imports("./examples/resize", "./internal/cli"), "./examples/resize imports ./internal/cli"},

		{"NATS stays behind the journal", imports("./internal/broker", "github.com/nats-io/nats.go"), "./internal/broker imports github.com/nats-io/nats.go"},
		{"NATS stays behind the journal", imports("./internal/journal", "github.com/nats-io/nats-server/v2/server"), "./internal/journal imports github.com/nats-io/nats-server/v2/server"},
		{"NATS stays behind the journal", func(m *Module) {
			m.Packages = append(m.Packages, Package{Path: "./internal/cli", TestImports: []string{"github.com/nats-io/nats.go"}})
		}, "a test of ./internal/cli imports github.com/nats-io/nats.go"},

		{"stored records stay inside", imports("./internal/broker", "./proto/weft/journal/v1"), "./internal/broker imports ./proto/weft/journal/v1"},
		{"stored records stay inside", imports("./proto/weft/v1", "./proto/weft/journal/v1"), "./proto/weft/v1 imports ./proto/weft/journal/v1"},

		{"the simulator is for tests", imports("./internal/cli", "./internal/sim"), "./internal/cli imports ./internal/sim"},

		{"cmd/client links no server", func(m *Module) {
			m.Linked["./cmd/client"]["./pkg/client"] = []string{"./internal/broker"}
		}, "./cmd/client imports ./internal/cli/remote imports ./pkg/client imports ./internal/broker"},
		{"cmd/client links no server", func(m *Module) {
			m.Linked["./cmd/client"]["os"] = []string{"github.com/nats-io/nats-server/v2/server"}
		}, "./cmd/client imports os imports github.com/nats-io/nats-server/v2/server"},

		{"go.mod is the users'", func(m *Module) {
			m.GoMod.Requires = append(m.GoMod.Requires, "github.com/golangci/golangci-lint/v2")
		}, "go.mod requires github.com/golangci/golangci-lint/v2"},
		{"go.mod is the users'", func(m *Module) {
			m.GoMod.Tools = []string{"golang.org/x/tools/cmd/stringer"}
		}, "go.mod has a tool directive for golang.org/x/tools/cmd/stringer"},
		{"go.mod is the users'", func(m *Module) {
			m.GoMod.Replaces = []string{"google.golang.org/grpc"}
		}, "go.mod replaces google.golang.org/grpc"},
	}

	rules := map[string]Rule{}
	for _, rule := range Rules() {
		rules[rule.Name] = rule
	}
	tried := map[string]bool{}
	for _, test := range tests {
		tried[test.rule] = true
		m := sound()
		test.spoil(m)
		if got := rules[test.rule].Check(m); !slices.Equal(got, []string{test.says}) {
			t.Errorf("%s: got %q, want %q", test.rule, got, test.says)
		}
	}
	for name, rule := range rules {
		if !tried[name] {
			t.Errorf("nothing here breaks the rule %q", name)
		}
		if rule.Reason == "" {
			t.Errorf("the rule %q gives no reason", name)
		}
	}
}

func TestImpurities(t *testing.T) {
	tests := []struct {
		source string
		want   []string
	}{
		{"import \"time\"\nvar d = 3 * time.Second\nfunc f(t time.Time) time.Time { return t.Add(d) }", nil},
		{"import \"time\"\nvar now = time.Now", []string{"time.Now in core.go:3"}},
		{"import \"time\"\nfunc f() { time.Sleep(1); <-time.After(1) }", []string{"time.Sleep in core.go:3", "time.After in core.go:3"}},
		{"import clock \"time\"\nvar t = clock.NewTimer(1)", []string{"time.NewTimer in core.go:3"}},
		{"import . \"time\"", []string{"a dot import of time, which hides its clocks in core.go:2"}},
		{"func f(queue interface{ Now() int }) int { return queue.Now() }", nil},
		{"func f() {\n\tgo f()\n}", []string{"a go statement in core.go:3"}},
	}
	for _, test := range tests {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "pkg/queue/core.go", "package queue\n"+test.source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := impurities(fset, file); !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.source, got, test.want)
		}
	}
}

// TestLoad reads a module from files, breaks of the rules and everything to be left out included.
func TestLoad(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{
		"go.mod":                           "module example.test/m\n\ngo 1.26.0\n\ntool example.test/stringer\n",
		"cmd/client/main.go":               "package main\n\nimport _ \"example.test/m/internal/broker\"\n\nfunc main() {}\n",
		"internal/broker/broker.go":        "package broker\n",
		"pkg/queue/queue.go":               "package queue\n\nimport \"time\"\n\nfunc f() { _ = time.Now() }\n",
		"pkg/queue/queue_windows.go":       "package queue\n\nimport _ \"os\"\n",
		"pkg/queue/queue_test.go":          "package queue\n\nimport _ \"time\"\n\nfunc g() { go g() }\n",
		"pkg/queue/testdata/not.go":        "package not\n",
		"pkg/.hidden/not.go":               "package not\n",
		"pkg/_ignored/not.go":              "package not\n",
		"bench/go.mod":                     "module example.test/m/bench\n",
		"bench/not.go":                     "package not\n",
		"docs/design.md":                   "No Go here.\n",
		"internal/journal/jetstream/js.go": "package jetstream\n\nimport _ \"github.com/nats-io/nats.go\"\n",
	}
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range m.Packages {
		paths = append(paths, p.Path)
	}
	if want := []string{"./cmd/client", "./internal/broker", "./internal/journal/jetstream", "./pkg/queue"}; !slices.Equal(paths, want) {
		t.Errorf("got packages %q, want %q", paths, want)
	}
	var broken []string
	for _, rule := range Rules() {
		broken = append(broken, rule.Check(m)...)
	}
	want := []string{
		"./cmd/client imports ./internal/broker",
		"./pkg/queue imports os",
		"./pkg/queue: time.Now in queue.go:5",
		"go.mod has a tool directive for example.test/stringer",
	}
	slices.Sort(broken)
	if !slices.Equal(broken, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(broken, "\n"), strings.Join(want, "\n"))
	}
}
