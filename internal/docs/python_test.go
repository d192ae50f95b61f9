package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFromPythonNamesWhatThereIs holds docs/from-python.md to the SDK: every function, type and method that it names is
// there.
func TestFromPythonNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../docs/from-python.md")
	if err != nil {
		t.Fatal(err)
	}
	exported := exportedNames(t, "../../pkg/client")
	for _, m := range regexp.MustCompile(`\bclient\.([A-Z]\w*)`).FindAllStringSubmatch(string(text), -1) {
		if !exported[m[1]] {
			t.Errorf("there is no client.%s", m[1])
		}
	}
	calls := regexp.MustCompile(`\b(?:c|lock|cond|value|future|pool|barrier|held)\.([A-Z]\w*)`)
	found := calls.FindAllStringSubmatch(string(text), -1)
	for _, m := range found {
		if !exported[m[1]] {
			t.Errorf("nothing has a method %s", m[0])
		}
	}
	if len(found) < 30 {
		t.Errorf("only %d methods are named", len(found))
	}
}

// exportedNames are the exported functions, types, constants, variables and methods of a package.
func exportedNames(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names[n.Name.Name] = true
				return false
			case *ast.TypeSpec:
				names[n.Name.Name] = true
			case *ast.ValueSpec:
				for _, name := range n.Names {
					names[name.Name] = true
				}
			}
			return true
		})
	}
	return names
}
