package command

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const stdout = weftv1.OutputStream_OUTPUT_STREAM_STDOUT

func sum(t testing.TB, r io.Reader, skip int64) [sha256.Size]byte {
	t.Helper()
	if _, err := io.CopyN(io.Discard, r, skip); err != nil {
		t.Error(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Error(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func TestLargeOutputIsExact(t *testing.T) {
	const size = 50 << 20
	dir := t.TempDir()
	r := newRunner(t, anything(Config{SpoolDir: dir}))
	p := start(t, r, helperCommand(t, "bytes", strconv.Itoa(size)))
	out := p.Output(stdout)
	want := make(map[int64][sha256.Size]byte)
	for _, off := range []int64{0, memoryBytesMax - 1, memoryBytesMax, 7<<20 + 13, size - 1, size} {
		want[off] = sum(t, io.LimitReader(pattern(), size), off)
	}
	check := func() {
		var readers sync.WaitGroup
		for off := range want {
			readers.Go(func() {
				if got := sum(t, &follower{out: out, off: off}, 0); got != want[off] {
					t.Errorf("from %d: other bytes", off)
				}
			})
		}
		readers.Wait()
	}
	check() // live
	await(t, "end of the command", p.Done())
	check() // afterwards
	if total, kept, ended := out.Size(); total != size || kept != size || !ended {
		t.Errorf("size %d, %d, %v", total, kept, ended)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("files with names: %v, %v", names, err)
	}
	p.Release()
	if _, err := out.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrReleased) {
		t.Errorf("after release: %v", err)
	}
	await(t, "news of the release", out.Changed())
}

func TestLimitIsExplicit(t *testing.T) {
	const limit, size = 1 << 20, 4 << 20
	r := newRunner(t, anything(Config{SpoolBytesMax: limit}))
	p := start(t, r, helperCommand(t, "bytes", strconv.Itoa(size)))
	defer p.Release()
	var got bytes.Buffer
	_, err := io.Copy(&got, &follower{out: p.Output(stdout)})
	if !errors.Is(err, ErrNotKept) {
		t.Errorf("at the limit: %v", err)
	}
	want, _ := io.ReadAll(io.LimitReader(pattern(), limit))
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes were kept, not the first %d", got.Len(), limit)
	}
	await(t, "end of the command", p.Done())
	if res := p.Outcome().Result.GetStdout(); res.GetBytesTotal() != size || !res.GetTruncated() {
		t.Errorf("total %d", res.GetBytesTotal())
	}
	if _, err := p.Output(stdout).ReadAt(make([]byte, 1), size); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestLimitIsForBothStreams(t *testing.T) {
	const limit, size = 1 << 20, 1 << 20
	r := newRunner(t, anything(Config{SpoolBytesMax: limit}))
	cmd := helperCommand(t, "bytes", strconv.Itoa(size))
	cmd.Argv = []string{`"$1" "$2" & "$1" "$2" >&2; wait`, cmd.Argv[0], cmd.Argv[1]}
	cmd.Shell = true
	p := start(t, r, cmd)
	defer p.Release()
	await(t, "end of the command", p.Done())
	_, out, _ := p.stdout.Size()
	_, err, _ := p.stderr.Size()
	if sum := out + err; sum < limit-memoryBytesMax || sum > limit+memoryBytesMax {
		t.Errorf("kept %d + %d", out, err)
	}
	if total := p.Outcome().Result.GetStderr().GetBytesTotal(); total != size {
		t.Errorf("stderr: %d bytes in all", total)
	}
}

func TestSmallLimitKeepsMemory(t *testing.T) {
	r := newRunner(t, anything(Config{SpoolBytesMax: 10}))
	p := start(t, r, helperCommand(t, "bytes", strconv.Itoa(1<<20)))
	defer p.Release()
	await(t, "end of the command", p.Done())
	total, kept, _ := p.stdout.Size()
	if total != 1<<20 || kept > memoryBytesMax || kept <= memoryBytesMax-readBytesMax {
		t.Errorf("kept %d of %d", kept, total)
	}
	if got := text(p.Outcome().Result.GetStdout()); len(got) != OutputBytesDefault {
		t.Errorf("the outcome has %d bytes", len(got))
	}
}

func TestNoPlaceToSpool(t *testing.T) {
	r := newRunner(t, anything(Config{SpoolDir: "/no/such/directory"}))
	p := start(t, r, helperCommand(t, "bytes", strconv.Itoa(1<<20)))
	defer p.Release()
	_, err := io.Copy(io.Discard, &follower{out: p.Output(stdout)})
	if !errors.Is(err, ErrNotKept) {
		t.Errorf("got %v", err)
	}
	await(t, "end of the command", p.Done())
	if out := p.Outcome(); out.Err != nil || out.Result.GetStdout().GetBytesTotal() != 1<<20 {
		t.Errorf("got %+v", out)
	}
}

func TestReadingLive(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	cmd := shell(`echo first; read x; echo "second $x"`)
	p := start(t, r, cmd)
	defer p.Release()
	if got := line(t, p); got != "first" {
		t.Errorf("got %q", got)
	}
	all, err := io.ReadAll(&follower{out: p.Output(stdout)})
	if err != nil || !strings.HasPrefix(string(all), "first\nsecond") {
		t.Errorf("got %q, %v", all, err)
	}
	await(t, "end of the command", p.Done())
	if p.Output(weftv1.OutputStream_OUTPUT_STREAM_UNSPECIFIED) != nil {
		t.Error("an output of no stream")
	}
	if _, err := p.Output(stdout).ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
}
