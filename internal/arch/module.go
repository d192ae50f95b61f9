package arch

import (
	"slices"
	"strings"
)

// Module is what the rules look at: the packages of one module and its go.mod.
//
// Import paths are written in one form everywhere here: "./pkg/queue" for a package of the
// module itself, "net/http" for the standard library, "github.com/…" for the rest.
type Module struct {
	Packages []Package
	// Linked holds, for every package whose binary a rule asks about, the complete import
	// graph below it: importer to imports, the standard library and other modules included.
	Linked map[string]map[string][]string
	GoMod  GoMod
}

// Package is one package, as its files say, whatever their build constraints.
type Package struct {
	Path        string
	Imports     []string // of the files that are not tests
	TestImports []string // of the tests, inside and outside of the package
	// Impure lists what only a look at the statements can find: clocks and goroutines. It is
	// filled for the packages that have to be pure.
	Impure []string
}

// GoMod is the part of go.mod that reaches users.
type GoMod struct {
	Requires []string
	Tools    []string
	Replaces []string
}

// within reports whether path is one of roots or lies below one of them.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || root != "." && strings.HasPrefix(path, root+"/") // "." is the root package alone
	})
}

func own(path string) bool { return path == "." || strings.HasPrefix(path, "./") }

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// chain returns the shortest way through the import graph from one package to the first that
// is wanted, both ends included, or nil.
func chain(graph map[string][]string, from string, wanted func(string) bool) []string {
	cameFrom := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if wanted(at) {
			var way []string
			for p := at; p != ""; p = cameFrom[p] {
				way = append(way, p)
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range graph[at] {
			if _, seen := cameFrom[next]; !seen {
				cameFrom[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}
