package command

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func writeFile(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestPolicy(t *testing.T) {
	root := t.TempDir()
	bin, evil := filepath.Join(root, "bin"), filepath.Join(root, "evil")
	for _, path := range []string{bin + "/sum", bin + "/other", bin + "/tool", evil + "/sum", evil + "/tool", evil + "/only"} {
		writeFile(t, path, "#!/bin/sh\necho $0\n", 0o755)
	}
	writeFile(t, bin+"/plain", "no program\n", 0o644)
	for _, link := range []string{bin + "/alias", evil + "/alias"} {
		if err := os.Symlink(bin+"/sum", link); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+"relative"+"::"+os.Getenv("PATH"))
	t.Chdir(evil)

	const runs, refused, notFound = "", task.ReasonRefused, task.ReasonNotFound
	names := Policy{Allow: []string{"sum", "plain", "absent", "only"}}
	paths := Policy{Allow: []string{evil + "/tool", bin + "/other"}}
	tests := []struct {
		name   string
		policy Policy
		cmd    *weftv1.Command
		want   string
		file   string // what would be executed
	}{
		{"the zero policy", Policy{}, argv("sum"), refused, ""},
		{"the zero policy, shell", Policy{}, shell("true"), refused, ""},

		{"a name", names, argv("sum"), runs, bin + "/sum"},
		{"the path of a name", names, argv(bin + "/sum"), runs, bin + "/sum"},
		{"another name", names, argv("other"), refused, ""},
		{"another name that does not exist", names, argv("weft-none"), refused, ""},
		{"an allowed name that does not exist", names, argv("absent"), notFound, ""},
		{"an allowed name that is no program", names, argv("plain"), notFound, ""},
		{"an allowed name that only the current directory has", names, argv("only"), notFound, ""},
		{"here", names, argv("./sum"), refused, ""},
		{"elsewhere", names, argv("../bin/sum"), refused, ""},
		{"a relative path", names, argv("bin/sum"), refused, ""},
		{"another file of that name", names, argv(evil + "/sum"), refused, ""},
		{"not clean: dot", names, argv(bin + "/./sum"), refused, ""},
		{"not clean: dots", names, argv(bin + "/../bin/sum"), refused, ""},
		{"not clean: slashes", names, argv(bin + "//sum"), refused, ""},
		{"not clean: the end", names, argv(bin + "/sum/"), refused, ""},
		{"a link to it by another name", names, argv("alias"), refused, ""},
		{"the path of a link to it", names, argv(evil + "/alias"), refused, ""},
		{"with a space", names, argv("sum "), refused, ""},
		{"with an argument in it", names, argv("sum -x"), refused, ""},
		{"upper case", names, argv("SUM"), refused, ""},
		{"a directory", names, argv(".."), refused, ""},

		{"a path", paths, argv(evil + "/tool"), runs, evil + "/tool"},
		{"a name that leads to a path", paths, argv("other"), runs, bin + "/other"},
		{"a name that leads elsewhere", paths, argv("tool"), refused, ""},
		{"a path not clean", paths, argv(evil + "/x/../tool"), refused, ""},
		{"a relative path of it", paths, argv("./tool"), refused, ""},

		{"a loader variable", names, withEnv("LD_PRELOAD", argv("sum")), refused, ""},
		{"another loader's", names, withEnv("DYLD_INSERT_LIBRARIES", argv("sum")), refused, ""},
		{"PATH", names, withEnv("PATH", argv("sum")), refused, ""},
		{"a harmless variable", names, withEnv("LDX", argv("sum")), runs, bin + "/sum"},
		{"a directory does not matter", names, inDir(evil, argv("sum")), runs, bin + "/sum"},

		{"a shell line", names, shell("sum"), refused, ""},
		{"a shell line with any", Policy{AllowAny: true}, shell("sum"), refused, ""},
		{"a shell line that may", Policy{AllowShell: true}, shell("sum"), runs, "/bin/sh"},
		{"a program, with only the shell allowed", Policy{AllowShell: true}, argv("sum"), refused, ""},

		{"any name", Policy{AllowAny: true}, argv("other"), runs, bin + "/other"},
		{"any path", Policy{AllowAny: true}, argv("./sum"), runs, "./sum"},
		{"any name of the current directory", Policy{AllowAny: true}, argv("only"), notFound, ""},
		{"any with PATH", Policy{AllowAny: true}, withEnv("PATH", argv("other")), runs, bin + "/other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file, _, err := test.policy.resolve(test.cmd)
			var te *task.Error
			switch {
			case test.want == runs && (err != nil || file != test.file):
				t.Errorf("got %q, %v; want %q", file, err, test.file)
			case test.want != runs && (!errors.As(err, &te) || te.Reason != test.want):
				t.Errorf("got %q, %v; want reason %q", file, err, test.want)
			}
		})
	}
}

func TestPolicyWithMeaninglessEntries(t *testing.T) {
	for _, entry := range []string{"", ".", "..", "./sum", "bin/sum", "/", "/bin/", "/bin/../sum", "//bin/sum"} {
		if _, err := New(Config{Policy: Policy{Allow: []string{entry}}}); err == nil {
			t.Errorf("%q was taken", entry)
		}
	}
}

func argv(args ...string) *weftv1.Command { return &weftv1.Command{Argv: args} }

func withEnv(name string, cmd *weftv1.Command) *weftv1.Command {
	cmd.Env = map[string]string{name: "/nowhere"}
	return cmd
}

func inDir(dir string, cmd *weftv1.Command) *weftv1.Command {
	cmd.Dir = dir
	return cmd
}
