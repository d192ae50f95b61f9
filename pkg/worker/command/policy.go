//go:build unix

package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// shellPath is the only shell that Command.shell means.
const shellPath = "/bin/sh"

// Policy says which commands a worker runs. The zero Policy runs none.
//
// It decides which program is started, not what that program does: who may run env, xargs, make or an
// interpreter may run anything. Paths are compared as they are written, and symbolic links are never
// followed for it, because a program can act by the name it is called by.
type Policy struct {
	// AllowAny runs any program, and Allow is of no account.
	AllowAny bool
	// Allow lists what may run: names ("sha256sum") and absolute paths ("/opt/bin/convert").
	//
	// A name allows the file that the worker's PATH has for it, asked for by the name or by exactly
	// that path. An absolute path allows that file, asked for by the path or by a name that PATH
	// leads there. Anything else is refused: relative paths ("./sha256sum"), paths with "." or ".."
	// or doubled slashes in them, other names of the same file. So are environment variables
	// by which the system itself would choose other code: PATH, LD_* and DYLD_*.
	Allow []string
	// AllowShell runs commands with Command.shell: any line of /bin/sh, hence any program.
	AllowShell bool
}

// validate finds entries that could never match what they seem to mean.
func (p Policy) validate() error {
	for _, entry := range p.Allow {
		isName := entry != "" && entry != "." && entry != ".." && !strings.Contains(entry, "/")
		isPath := filepath.IsAbs(entry) && filepath.Clean(entry) == entry && entry != "/"
		if !isName && !isPath {
			return fmt.Errorf("command: allow %q: neither a program's name nor a clean absolute path", entry)
		}
	}
	return nil
}

// resolve returns the file to execute and its arguments, or a *task.Error that says why not. The file
// is the one that was judged: it is executed by that very path.
func (p Policy) resolve(cmd *weftv1.Command) (path string, args []string, err error) {
	argv := cmd.GetArgv()
	switch {
	case len(argv) == 0 || argv[0] == "":
		return "", nil, refusal("no program is named")
	case cmd.GetShell():
		if !p.AllowShell {
			return "", nil, refusal("this worker runs no shell lines")
		}
		// "--" keeps a line that begins with "-" from being read as an option; "sh" is $0.
		return shellPath, append([]string{"sh", "-c", "--", argv[0], "sh"}, argv[1:]...), nil
	case !p.AllowAny:
		if err := checkEnv(cmd.GetEnv()); err != nil {
			return "", nil, err
		}
		path, err = p.resolveAllowed(argv[0])
	default:
		path, err = resolveAny(argv[0])
	}
	return path, argv, err
}

// resolveAny finds a program by PATH; a path is left to the kernel, relative to Command.dir.
func resolveAny(program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	return lookPath(program)
}

// resolveAllowed finds a program and holds it against Allow.
func (p Policy) resolveAllowed(program string) (string, error) {
	if !strings.Contains(program, "/") {
		return p.resolveName(program)
	}
	if slices.Contains(p.Allow, program) { // only clean absolute paths have a slash there
		return program, nil
	}
	name := filepath.Base(program)
	if slices.Contains(p.Allow, name) {
		if path, err := lookPath(name); err == nil && path == program {
			return path, nil
		}
	}
	return "", refusal(fmt.Sprintf("this worker does not run %q", program))
}

func (p Policy) resolveName(name string) (string, error) {
	path, err := lookPath(name)
	switch {
	case slices.Contains(p.Allow, name):
		return path, err
	case err == nil && slices.Contains(p.Allow, path):
		return path, nil
	}
	return "", refusal(fmt.Sprintf("this worker does not run %q", name))
}

// checkEnv refuses what would make the loader run other code inside of an allowed program.
func checkEnv(env map[string]string) error {
	for name := range env {
		if name == "PATH" || strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "DYLD_") {
			return refusal(fmt.Sprintf("this worker lets no task set %s", name))
		}
	}
	return nil
}

// lookPath finds a name in the worker's PATH. What a relative entry of PATH would find is not found.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil && filepath.IsAbs(path):
		return path, nil
	case errors.Is(err, fs.ErrPermission):
		return "", refusal(fmt.Sprintf("%q is not executable", name))
	default:
		return "", notFound(fmt.Sprintf("the worker has no program %q", name))
	}
}

func refusal(message string) error {
	return &task.Error{Reason: task.ReasonRefused, Message: message, Permanent: true}
}

func notFound(message string) error {
	return &task.Error{Reason: task.ReasonNotFound, Message: message}
}
