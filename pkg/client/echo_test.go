package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// echoEnv makes the test binary an echoing broker in a process of its own, so that a benchmark can tell
// the client's CPU time from the broker's.
const echoEnv = "WEFT_TEST_ECHO"

// rawCodec hands frames over as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// serveEcho is the process: every task succeeds at once, with a realistic outcome.
func serveEcho() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}),
		grpc.StaticStreamWindowSize(streamWindowBytes), grpc.StaticConnWindowSize(connWindowBytes),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return echo(stream) }))
	go func() { _ = server.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// echo answers one stream.
func echo(stream grpc.ServerStream) error {
	var in []byte
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	attached, err := proto.Marshal(&weftv1.ExecuteResponse{
		Attached: &weftv1.ExecuteAttached{SessionId: "s", SessionTtl: durationpb.New(defaultSessionTTL)},
	})
	if err != nil {
		return err
	}
	for out := attached; ; {
		if err := stream.SendMsg(&out); err != nil {
			return err
		}
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if out, err = echoFrame(in); err != nil {
			return err
		}
	}
}

// echoFrame turns a request frame into a response frame.
func echoFrame(in []byte) ([]byte, error) {
	now := timestamppb.Now()
	outcome, err := proto.Marshal(&weftv1.Outcome{
		State: weftv1.TaskState_TASK_STATE_SUCCEEDED, End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
		Attempts: 1, Worker: "worker.4711@host", Token: 123456789, StartedAt: now, FinishedAt: now,
	})
	if err != nil {
		return nil, err
	}
	var out, entry []byte
	err = eachField(in, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case requestHeartbeat:
			out = protowire.AppendTag(out, responseHeartbeat, protowire.VarintType)
			out = protowire.AppendVarint(out, v)
		case requestTasks:
			var index uint64
			if data[0] == 8 {
				index, _ = protowire.ConsumeVarint(data[1:])
			}
			out = indexRange{index, index}.appendWire(out, responseAccepted)
			entry = protowire.AppendTag(entry[:0], entryIndex, protowire.VarintType)
			entry = protowire.AppendVarint(entry, index)
			entry = protowire.AppendTag(entry, entryTaskID, protowire.BytesType)
			entry = protowire.AppendString(entry, "t1a2b3c4d")
			entry = protowire.AppendTag(entry, entryOutcome, protowire.BytesType)
			entry = protowire.AppendBytes(entry, outcome)
			out = protowire.AppendTag(out, responseOutcomes, protowire.BytesType)
			out = protowire.AppendBytes(out, entry)
		}
		return nil
	})
	return out, err
}

// startEcho starts the process and returns a client of it.
func startEcho(b *testing.B) *Client {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), echoEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	c, err := Dial(strings.TrimSpace(addr))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return c
}

// reportCPU runs fn and reports this process's CPU time for each of b.N tasks, and their rate.
func reportCPU(b *testing.B, fn func()) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	before, start := cpuTime(b), time.Now()
	fn()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "ops/s")
}
