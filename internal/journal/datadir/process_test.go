package datadir

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes this test binary a process that holds the directory named there until it is killed.
const childEnv = "WEFT_DATADIR_TEST_CHILD"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		goleak.VerifyTestMain(m)
		return
	}
	d, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open", d.ID())
	_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed, or its parent is gone
}

// Another process's lock names that process, and ends with it, also when it is killed.
func TestLockOfAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.WaitDelay = 10 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var id string
	if _, serr := fmt.Sscanf(line, "open %s", &id); err != nil || serr != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	mustRefuse(t, dir, &LockedError{}, fmt.Sprintf("is in use by process %d", cmd.Process.Pid))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	if got := mustOpen(t, dir).ID(); got != id {
		t.Fatalf("id %s, the child said %s", got, id)
	}
}
