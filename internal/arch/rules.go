package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is one rule and the reason for it. Check returns what breaks it, a sentence each.
type Rule struct {
	Name   string
	Reason string
	Check  func(*Module) []string
}

var (
	cores = []string{"./pkg/lockservice", "./pkg/queue", "./pkg/schedule", "./pkg/session"}
	// pure is the cores and what they may share. All of it follows the rules of a core.
	pure = append(slices.Clone(cores), "./internal/pure")
	sdks = []string{"./pkg/client", "./pkg/task", "./pkg/worker"}

	// impureImports are the trees of the standard library that bring a clock, I/O, a
	// goroutine or chance along.
	impureImports = []string{
		"context", "crypto/rand", "hash/maphash", "log", "math/rand", "net", "os", "sync", "syscall",
	}

	server = []string{"./internal/broker", "./internal/journal", "./internal/shard", "github.com/nats-io"}

	toolModules = []string{
		"github.com/bufbuild/buf",
		"github.com/fullstorydev/grpcurl",
		"github.com/golangci",
		"github.com/weftq/weft/tools",
		"google.golang.org/grpc/cmd/protoc-gen-go-grpc",
	}
)

// clientBinary is the one binary whose contents a rule is about.
const clientBinary = "./cmd/client"

// Rules returns all rules.
func Rules() []Rule {
	return []Rule{
		{
			Name: "imports point down",
			Reason: "cmd uses cli, cli uses the broker and the SDKs, those use what is below them, so that every part " +
				"can be read, tested and replaced without what stands on it",
			Check: checkLayers,
		},
		{
			Name: "the cores are pure",
			Reason: "a core is given time, ids and tokens and decides by them alone: that makes replay of the journal " +
				"exact and lets the simulator run hours of faults in seconds",
			Check: checkPure,
		},
		{
			Name: "SDKs stand alone",
			Reason: "users import pkg/...; what they link must not depend on the broker's insides " +
				"(only pkg/wefttest, which runs a broker in their tests, does)",
			Check: imports(in(sdks...), in("./internal")),
		},
		{
			Name:   "examples use the public API",
			Reason: "an example that reaches into internal/ shows what no user can write",
			Check:  imports(in("./examples"), in("./internal")),
		},
		{
			Name: "NATS stays behind the journal",
			Reason: "everything else is written against the Journal interface, so that it runs on memory in tests " +
				"and in the simulator, and the facts about NATS are known in one place",
			Check: testsToo(except(in("./internal/journal/jetstream")), in("github.com/nats-io")),
		},
		{
			Name:   "stored records stay inside",
			Reason: "proto/weft/journal is the format on disk; it must be free to change without an RPC noticing",
			Check: imports(
				except(in("./internal/journal", "./internal/shard", "./internal/sim", "./proto/weft/journal")),
				in("./proto/weft/journal")),
		},
		{
			Name:   "the simulator is for tests",
			Reason: "it replaces clocks, networks and disks by fakes, which no binary may contain",
			Check:  imports(except(in("./internal/sim")), in("./internal/sim")),
		},
		{
			Name:   "cmd/client links no server",
			Reason: "the client is installed everywhere; it has to stay small and must not carry a database",
			Check:  checkClient,
		},
		{
			Name: "go.mod is the users'",
			Reason: "whoever imports an SDK inherits its requirements: tools have modules of their own below tools/, " +
				"and a replace directive makes 'go install ...@version' fail",
			Check: checkGoMod,
		},
	}
}

// in and except make a test of an import path out of trees.
func in(roots ...string) func(string) bool {
	return func(path string) bool { return within(path, roots...) }
}

func except(f func(string) bool) func(string) bool {
	return func(path string) bool { return !f(path) }
}

// imports forbids the importers, outside of their tests, to import any forbidden path.
func imports(importer, forbidden func(string) bool) func(*Module) []string {
	return func(m *Module) (broken []string) {
		for _, p := range m.Packages {
			if importer(p.Path) {
				broken = append(broken, forbid(p.Path, p.Imports, forbidden)...)
			}
		}
		return broken
	}
}

// testsToo is imports with the tests included.
func testsToo(importer, forbidden func(string) bool) func(*Module) []string {
	outside := imports(importer, forbidden)
	return func(m *Module) []string {
		broken := outside(m)
		for _, p := range m.Packages {
			if importer(p.Path) {
				broken = append(broken, forbid("a test of "+p.Path, p.TestImports, forbidden)...)
			}
		}
		return broken
	}
}

func forbid(importer string, imported []string, forbidden func(string) bool) (broken []string) {
	for _, path := range imported {
		if forbidden(path) {
			broken = append(broken, fmt.Sprintf("%s imports %s", importer, path))
		}
	}
	return broken
}

func checkPure(m *Module) (broken []string) {
	allowed := func(path string) bool {
		if own(path) {
			return within(path, pure...)
		}
		return standard(path) && !within(path, impureImports...)
	}
	broken = imports(in(pure...), except(allowed))(m)
	for _, p := range m.Packages {
		if !within(p.Path, pure...) {
			continue
		}
		for _, statement := range p.Impure {
			broken = append(broken, fmt.Sprintf("%s: %s", p.Path, statement))
		}
	}
	return broken
}

func checkClient(m *Module) (broken []string) {
	for _, tree := range server {
		if way := chain(m.Linked[clientBinary], clientBinary, in(tree)); way != nil {
			broken = append(broken, strings.Join(way, " imports "))
		}
	}
	return broken
}

func checkGoMod(m *Module) (broken []string) {
	for _, tool := range m.GoMod.Tools {
		broken = append(broken, "go.mod has a tool directive for "+tool)
	}
	for _, path := range m.GoMod.Requires {
		if within(path, toolModules...) {
			broken = append(broken, "go.mod requires "+path)
		}
	}
	for _, path := range m.GoMod.Replaces {
		broken = append(broken, "go.mod replaces "+path)
	}
	return broken
}
