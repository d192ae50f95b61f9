package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Load reads the module in directory root.
//
// The packages are read from their files, not from "go list": so files for every platform
// count, and "go test" sees which files its cached result depends on.
func Load(root string) (*Module, error) {
	name, gomod, err := loadGoMod(root)
	if err != nil {
		return nil, err
	}
	m := &Module{GoMod: gomod, Linked: map[string]map[string][]string{}}
	err = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if outside, err := outsideModule(root, dir); err != nil {
			return err
		} else if outside {
			return fs.SkipDir
		}
		p, err := loadPackage(root, dir, name)
		if err == nil && p != nil {
			m.Packages = append(m.Packages, *p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(m.Packages, func(p Package) bool { return p.Path == clientBinary }) {
		if m.Linked[clientBinary], err = loadLinked(root, clientBinary, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// outsideModule reports whether dir is not part of the module, by the go command's own rules.
func outsideModule(root, dir string) (bool, error) {
	if dir == root {
		return false, nil
	}
	base := filepath.Base(dir)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true, nil
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// loadPackage returns nil for a directory without Go files.
func loadPackage(root, dir, module string) (*Package, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	p := &Package{Path: "."}
	if rel != "." {
		p.Path = "./" + filepath.ToSlash(rel)
	}
	for _, name := range files {
		if err := p.addFile(name, module); err != nil {
			return nil, err
		}
	}
	for _, list := range []*[]string{&p.Imports, &p.TestImports} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return p, nil
}

func (p *Package) addFile(name, module string) error {
	isTest := strings.HasSuffix(name, "_test.go")
	statements := within(p.Path, pure...) && !isTest
	mode := parser.ImportsOnly
	if statements {
		mode = parser.SkipObjectResolution
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, nil, mode)
	if err != nil {
		return err
	}
	list := &p.Imports
	if isTest {
		list = &p.TestImports
	}
	paths, err := importsOf(file, module)
	*list = append(*list, paths...)
	if statements {
		p.Impure = append(p.Impure, impurities(fset, file)...)
	}
	return err
}

func importsOf(file *ast.File, module string) (paths []string, err error) {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		paths = append(paths, relative(path, module))
	}
	return paths, nil
}

// relative writes an import path in the form of this package.
func relative(path, module string) string {
	if rest, ok := strings.CutPrefix(path, module); ok && (rest == "" || rest[0] == '/') {
		return "." + rest
	}
	return path
}

// loadLinked returns the import graph of everything that is linked into one binary.
func loadLinked(root, binary, module string) (map[string][]string, error) {
	out, err := run(root, "list", "-deps", "-json=ImportPath,Imports", binary)
	if err != nil {
		return nil, err
	}
	graph := map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return graph, nil
		} else if err != nil {
			return nil, err
		}
		for i := range p.Imports {
			p.Imports[i] = relative(p.Imports[i], module)
		}
		graph[relative(p.ImportPath, module)] = p.Imports
	}
}

func loadGoMod(root string) (name string, m GoMod, err error) {
	// Reading it here makes a cached test result depend on it.
	if _, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil {
		return "", m, err
	}
	out, err := run(root, "mod", "edit", "-json")
	if err != nil {
		return "", m, err
	}
	type path struct{ Path string }
	var parsed struct {
		Module        path
		Require, Tool []path
		Replace       []struct{ Old path }
	}
	if err := json.Unmarshal(out, &parsed); err != nil {
		return "", m, err
	}
	for _, r := range parsed.Require {
		m.Requires = append(m.Requires, r.Path)
	}
	for _, t := range parsed.Tool {
		m.Tools = append(m.Tools, t.Path)
	}
	for _, r := range parsed.Replace {
		m.Replaces = append(m.Replaces, r.Old.Path)
	}
	return parsed.Module.Path, m, nil
}

func run(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
