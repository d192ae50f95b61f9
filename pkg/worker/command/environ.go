//go:build unix

package command

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// private are variables of the worker that are none of a command's business: its credential, the file by which
// it hears of the end of who started it, and the lock that it may have been started under.
var private = []string{"WEFT_KEY", "WEFT_PARENT_FD", "WEFT_HOLDER", "WEFT_FENCE"}

// environ is the worker's environment, without what is private, with the attempt's and then the command's laid over
// it. With a working directory PWD follows, as in a shell, unless the command sets it.
func environ(cmd *weftv1.Command, attempt map[string]string) ([]string, error) {
	added := maps.Clone(attempt)
	if added == nil {
		added = map[string]string{}
	}
	maps.Copy(added, cmd.GetEnv())
	for name, value := range added {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return nil, &task.Error{
				Reason:    task.ReasonError,
				Message:   fmt.Sprintf("environment variable %q cannot be set", name),
				Permanent: true,
			}
		}
	}
	dir := cmd.GetDir()
	_, hasPWD := added["PWD"]
	setPWD := filepath.IsAbs(dir) && !hasPWD

	own := os.Environ()
	env := make([]string, 0, len(own)+len(added)+1)
	for _, variable := range own {
		name, _, _ := strings.Cut(variable, "=")
		if _, replaced := added[name]; !replaced && (!setPWD || name != "PWD") && !slices.Contains(private, name) {
			env = append(env, variable)
		}
	}
	for name, value := range added {
		env = append(env, name+"="+value)
	}
	if setPWD {
		env = append(env, "PWD="+dir)
	}
	return env, nil
}
