package docs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The README's blocks of ```sh are one session in one shell, and so are those of each of playedPages. A line is a
// command; lines behind it that begin with "# " are what it prints, where "…" stands for anything and a line of
// "…" for any lines. "# exit code N" is its exit code, 0 without it. A command with no such lines may print what
// it likes.

// defaultBroker is where the README says that the broker is.
const defaultBroker = "127.0.0.1:9338"

// elsewhere are the commands that .ci/run runs, by what it runs them with.
var elsewhere = map[string]string{
	"go run ./cmd/weft demo": "go run ./cmd/weft demo",
	"go test ./...":          "go test ./...",
	"tools/build grpc":       "tools/build",
}

type command struct {
	page    string
	line    int
	text    string
	prints  []string
	checked bool // prints is what it prints
	code    int
}

func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("builds weft and plays the whole README; run without -short")
	}
	all := readCommands(t, "README.md")
	ci, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	var script []command
	addr := ""
	for _, c := range all {
		by, isElsewhere := elsewhere[c.text]
		switch {
		case isElsewhere:
			if !strings.Contains(string(ci), by) {
				t.Errorf("README.md:%d: %q is not run by .ci/run", c.line, c.text)
			}
		case strings.HasPrefix(c.text, "go build "):
			build(t, c.text, bin)
		case c.text == "weft dev":
			addr = startDev(t, filepath.Join(bin, "weft"), c)
		default:
			script = append(script, c)
		}
	}
	if addr == "" {
		t.Fatal("README.md: no weft dev")
	}
	play(t, script, addr, strings.NewReplacer("$PWD/.build/bin", grpcurlDir(t), "$PWD/bin", bin, defaultBroker, addr))
}

// playedPages are the other pages whose commands are run, each against a "weft dev" of its own.
var playedPages = []string{"docs/queues.md", "docs/tasks.md"}

func TestPlayedPages(t *testing.T) {
	if testing.Short() {
		t.Skip("builds weft and plays whole pages; run without -short")
	}
	bin := t.TempDir()
	build(t, "go build -o bin/ ./cmd/weft", bin)
	for _, page := range playedPages {
		t.Run(page, func(t *testing.T) {
			addr := startDev(t, filepath.Join(bin, "weft"), command{})
			t.Setenv("PATH", strings.Join([]string{bin, grpcurlDir(t), os.Getenv("PATH")}, string(os.PathListSeparator)))
			play(t, readCommands(t, page), addr, strings.NewReplacer(defaultBroker, addr))
		})
	}
}

// readCommands reads the commands of a document.
func readCommands(t *testing.T, page string) (all []command) {
	t.Helper()
	path := filepath.Join(root, page)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fence := ""
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence = line
		case strings.HasPrefix(line, "```"):
			fence = ""
		case fence != "```sh" || line == "":
		case !strings.HasPrefix(line, "#"):
			all = append(all, command{page: page, line: n, text: line})
		default:
			c := &all[len(all)-1]
			text := strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
			if code, ok := strings.CutPrefix(text, "exit code "); ok {
				if c.code, err = strconv.Atoi(code); err != nil {
					t.Fatalf("%s:%d: %v", path, n, err)
				}
				continue
			}
			c.prints, c.checked = append(c.prints, text), true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// build runs a "go build -o bin/ …", into another directory.
func build(t *testing.T, text, bin string) {
	t.Helper()
	args := strings.Fields(strings.Replace(text, " bin/ ", " "+bin+"/ ", 1))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", text, err, out)
	}
}

// startDev runs "weft dev" on a free port until the test ends, and returns its address.
func startDev(t *testing.T, weft string, c command) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), weft, "dev", "--listen", "127.0.0.1:0", "--http", "off")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(weft)+string(os.PathListSeparator)+os.Getenv("PATH")) // its commands call weft
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("weft dev: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("weft dev: %v", err)
	}
	addr := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(first)
	if addr == "" {
		t.Fatalf("weft dev says %q", first)
	}
	if c.text == "" { // of no page
		return addr
	}
	check(t, c, strings.ReplaceAll(first, addr, defaultBroker), c.code)
	return addr
}

// grpcurlDir is where a grpcurl is: the pinned one if it is built, else this test's own.
func grpcurlDir(t *testing.T) string {
	t.Helper()
	pinned, err := filepath.Abs(filepath.Join(root, ".build", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(pinned, "grpcurl")); err == nil {
		return pinned
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "grpcurl")); err != nil {
		t.Fatal(err)
	}
	t.Log("the pinned grpcurl is not built: the requests are made by the test itself")
	return dir
}

// play runs the commands in one shell and checks what each of them does.
func play(t *testing.T, script []command, addr string, rewrite *strings.Replacer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var text strings.Builder
	for i, c := range script {
		fmt.Fprintf(&text, "%s\nprintf '\\n@@ %d %%d\\n' $?\n", rewrite.Replace(c.text), i)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "exec 2>&1 </dev/null\n"+text.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "WEFT_BROKER="+addr)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("the shell: %v", err)
	}
	rest := string(out)
	for i, c := range script {
		mark := regexp.MustCompile(fmt.Sprintf(`(?m)^@@ %d (\d+)$`, i)).FindStringSubmatchIndex(rest)
		if mark == nil {
			t.Fatalf("%s:%d: %s: the shell did not come to its end:\n%s", c.page, c.line, c.text, rest)
		}
		code, _ := strconv.Atoi(rest[mark[2]:mark[3]])
		check(t, c, strings.ReplaceAll(rest[:mark[0]], addr, defaultBroker), code)
		rest = rest[mark[1]:]
	}
}

// check holds what a command did against what the README says.
func check(t *testing.T, c command, out string, code int) {
	t.Helper()
	out = strings.Trim(out, "\n")
	if code != c.code {
		t.Errorf("%s:%d: %s: exit code %d, the page has %d\n%s", c.page, c.line, c.text, code, c.code, out)
	}
	if c.checked && !pattern(c.prints).MatchString(out+"\n") {
		t.Errorf("%s:%d: %s: prints\n%s\nthe page has\n%s", c.page, c.line, c.text, out, strings.Join(c.prints, "\n"))
	}
}

// pattern matches the output that the lines describe.
func pattern(lines []string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range lines {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\s*?\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// TestReadmeGo holds the Go code of the README and the played pages against the code of this package's examples,
// which compiles and runs.
func TestReadmeGo(t *testing.T) {
	files, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range files {
		code.WriteString(read(t, file))
	}
	flat := func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		for i, line := range lines {
			lines[i] = strings.TrimSpace(line)
		}
		return strings.Join(lines, "\n")
	}
	examples := flat(code.String())
	for _, page := range append([]string{"README.md"}, playedPages...) {
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, filepath.Join(root, page)), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no Go code", page)
		}
		for _, block := range blocks {
			if !strings.Contains(examples, flat(block[1])) {
				t.Errorf("no example of internal/docs has this code of %s:\n%s", page, block[1])
			}
		}
	}
}
