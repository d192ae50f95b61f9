//go:build unix

package procs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// envRole makes the test binary a child.
const envRole = "WEFT_TEST_ROLE"

type ready struct {
	Pid, Child int
}

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "":
		goleak.VerifyTestMain(m)
	case "child": // lives until its parent is gone
		child(0)
	case "parent": // has a child of its own
		p, err := Start(Command{Env: []string{envRole + "=child"}})
		if err != nil {
			panic(err)
		}
		var r ready
		if err := p.Ready(context.Background(), &r); err != nil {
			panic(err)
		}
		child(r.Pid)
	case "broken":
		fmt.Fprintln(os.Stderr, "no luck")
		os.Exit(3)
	case "deaf":
		_ = PrintReady(os.Stdout, ready{Pid: os.Getpid()})
		select {}
	}
}

func child(childPid int) {
	ctx := UntilParentDies(context.Background())
	_ = PrintReady(os.Stdout, ready{Pid: os.Getpid(), Child: childPid})
	<-ctx.Done()
}

func start(t *testing.T, role string) (*Process, ready) {
	t.Helper()
	p, err := Start(Command{Env: []string{envRole + "=" + role}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(10 * time.Second) })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var r ready
	if err := p.Ready(ctx, &r); err != nil {
		t.Fatal(err)
	}
	return p, r
}

func TestStopInOrder(t *testing.T) {
	p, r := start(t, "child")
	if r.Pid != p.Pid() {
		t.Fatalf("pid %d, want %d", r.Pid, p.Pid())
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
}

// A parent that is killed takes its children along, who are in groups of their own.
func TestChildrenDieWithTheirParent(t *testing.T) {
	p, r := start(t, "parent")
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Gone()
	deadline := time.Now().Add(10 * time.Second)
	for alive(r.Child) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives on", r.Child)
		}
		time.Sleep(time.Millisecond) // nothing tells of the end of a process that is not ours
	}
}

// alive reports whether a process runs; one that nobody waited for counts as gone.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestChildThatFails(t *testing.T) {
	var said strings.Builder
	p, err := Start(Command{Env: []string{envRole + "=broken"}, Stderr: &said})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Ready(ctx, &ready{}); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatal(err)
	}
	_ = p.Stop(time.Second)
	if said.String() != "no luck\n" {
		t.Fatalf("it said %q", said.String())
	}
}

// A child that heeds nothing is killed.
func TestDeafChild(t *testing.T) {
	p, _ := start(t, "deaf")
	if err := p.Stop(50 * time.Millisecond); err == nil {
		t.Fatal("it stopped by itself")
	}
}
