package worker

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// brokerEnv makes the test's binary a broker that has tasks without end: a process of its own, so that
// what a benchmark measures is the worker's.
const brokerEnv = "WEFT_WORKER_TEST_BROKER"

const payloadBytes = 256

// floodBroker answers each report with another task.
type floodBroker struct {
	weftv1.UnimplementedWorkerServiceServer
}

func (floodBroker) Work(rpc weftv1.WorkerService_WorkServer) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	token := uint64(0)
	kind, payload := "noop", &weftv1.Payload{Value: &weftv1.Payload_Data{Data: make([]byte, payloadBytes)}}
	if slices.Contains(first.GetHello().GetKinds(), benchKind.Name()) {
		in, err := benchKind.EncodeInput(benchInput{Text: strings.Repeat("x", payloadBytes-len(`{"at":0,"text":""}`))})
		if err != nil {
			return err
		}
		kind, payload = benchKind.Name(), in.Proto()
	}
	respond := func(frame *weftv1.WorkResponse, credits uint32) error {
		for range credits {
			token++
			frame.Assignments = append(frame.Assignments, &weftv1.Assignment{
				TaskId:  taskID(token),
				Token:   token,
				Queue:   "default",
				Kind:    kind,
				Work:    &weftv1.Assignment_Payload{Payload: payload},
				Grace:   durationpb.New(10 * time.Second),
				Attempt: 1,
			})
		}
		return rpc.Send(frame)
	}
	welcome := &weftv1.WorkResponse{Welcome: &weftv1.WorkWelcome{
		SessionId:  "s1",
		SessionTtl: first.GetHello().GetSessionTtl(),
	}}
	credits := first.GetHello().GetCredits()
	for frame := welcome; ; {
		if err := respond(frame, credits); err != nil {
			return err
		}
		request, err := rpc.Recv()
		if err != nil || request.GetGoodbye() {
			return err
		}
		frame = &weftv1.WorkResponse{Heartbeat: request.GetHeartbeat()}
		for _, r := range request.GetReports() {
			frame.AcceptedTokens = append(frame.AcceptedTokens, r.GetToken())
		}
		credits = request.GetCredits()
	}
}

// serveFlood serves a floodBroker on loopback, prints its address and ends with standard input.
func serveFlood() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(messageBytesMax),
		grpc.WriteBufferSize(bufferBytes), grpc.ReadBufferSize(bufferBytes),
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes),
	)
	weftv1.RegisterWorkerServiceServer(server, floodBroker{})
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	server.Stop()
}

// startFlood starts a floodBroker in a process of its own.
func startFlood(b *testing.B) (address string) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	broker := exec.Command(exe)
	broker.Env = append(os.Environ(), brokerEnv+"=1")
	broker.Stderr = os.Stderr
	stdin, err := broker.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := broker.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := broker.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = broker.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchInput is what tasks of BenchmarkTyped carry, as JSON.
type benchInput struct {
	At   int64  `json:"at"`
	Text string `json:"text"`
}

// benchOutput is what comes back.
type benchOutput struct {
	At int64 `json:"at"`
}

var benchKind = task.Define[benchInput, benchOutput]("typed")

// BenchmarkNoop runs tasks that do nothing, on slots of one worker over loopback TCP.
func BenchmarkNoop(b *testing.B) {
	benchmark(b, func(w *Worker, done func()) {
		w.handle("noop", func(context.Context, task.Payload) (task.Payload, error) {
			done()
			return task.Payload{}, nil
		})
	})
}

// BenchmarkTyped is the same by the typed API.
func BenchmarkTyped(b *testing.B) {
	benchmark(b, func(w *Worker, done func()) {
		Handle(w, benchKind, func(_ context.Context, in benchInput) (benchOutput, error) {
			done()
			return benchOutput{in.At}, nil
		})
	})
}

func benchmark(b *testing.B, handle func(w *Worker, done func())) {
	for _, slots := range []int{1, 8, 100, 1000} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			w, err := New(Config{Broker: startFlood(b), Slots: slots})
			if err != nil {
				b.Fatal(err)
			}
			var ended atomic.Int64
			ctx, cancel := context.WithCancel(b.Context())
			handle(w, func() {
				if ended.Add(1) == int64(b.N) {
					cancel()
				}
			})
			b.ResetTimer()
			cpu := cpuTime(b)
			if err := w.Run(ctx); err != nil {
				b.Error(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/1000/float64(b.N), "cpu-µs/task")
		})
	}
}
