package command

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// helperRunner starts a command, tells its number, and waits to be killed.
func helperRunner([]string) {
	r, err := New(anything(Config{}))
	if err != nil {
		panic(err)
	}
	if err := os.Unsetenv(helperEnv); err != nil {
		panic(err)
	}
	p, err := r.Start(&weftv1.Command{Argv: []string{"sleep", "1000"}}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.leader.Pid)
	time.Sleep(time.Minute)
}

func TestTheCommandDiesWithTheWorker(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.Command(exe)
	worker.Env = append(os.Environ(), helperEnv+"=runner", "GOCOVERDIR="+t.TempDir())
	stdout, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(said))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 30_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("the command outlives its worker: %v", err)
		}
		return
	}
}

// A thread that ends must not take a command with it: goroutines that end with their thread locked end
// the thread, too.
func TestTheCommandOutlivesThreads(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	q := start(t, r, &weftv1.Command{Argv: []string{"sleep", "1000"}})
	for range 50 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread()
		}()
		<-ended
	}
	select {
	case <-q.Done():
		t.Errorf("the command ended: %+v", q.Outcome())
	case <-time.After(50 * time.Millisecond): // a signal would be there by now
	}
	q.Stop(nil, 0)
	await(t, "end of the command", q.Done())
	q.Release()
}
