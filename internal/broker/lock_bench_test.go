package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// BenchmarkLocks measures pairs of an acquire and a release, fsynced: 64 sessions with a connection each or with one for all,
// in one process with the broker. Those who share one lock hand it on.
func BenchmarkLocks(b *testing.B) {
	for _, mode := range []string{"own", "own/connection", "shared"} {
		b.Run(mode, func(b *testing.B) {
			h := &harness{t: &testing.T{}, dir: b.TempDir()}
			h.start("127.0.0.1:0")
			defer h.stop()
			var left atomic.Int64
			left.Store(int64(b.N))
			conns := make([]*grpc.ClientConn, 64)
			for i := range conns {
				conns[i] = dialBench(b, h.addr.GRPC)
			}
			var wg sync.WaitGroup
			b.ResetTimer()
			for i, conn := range conns {
				name := "lock"
				if mode != "shared" {
					name = fmt.Sprintf("lock-%d", i)
				}
				if mode == "own/connection" {
					conn = conns[0]
				}
				wg.Go(func() {
					if err := pairs(conn, name, &left); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}

func dialBench(b *testing.B, addr string) *grpc.ClientConn {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// pairs acquires and releases a lock as long as some are left.
func pairs(conn *grpc.ClientConn, name string, left *atomic.Int64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := weftv1.NewLockServiceClient(conn).Synchronize(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&weftv1.SynchronizeRequest{Hello: &weftv1.SynchronizeHello{Channel: 1}}); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	for number := uint64(1); left.Add(-1) >= 0; number += 2 {
		a, err := command(stream, &weftv1.SynchronizeCommand{Number: number, Command: &weftv1.SynchronizeCommand_AcquireLock{
			AcquireLock: &weftv1.AcquireLockRequest{Name: name},
		}})
		if err != nil {
			return err
		}
		token := a.GetAcquireLock().GetGrant().GetToken()
		if _, err := command(stream, &weftv1.SynchronizeCommand{Number: number + 1, Command: &weftv1.SynchronizeCommand_ReleaseLock{
			ReleaseLock: &weftv1.ReleaseLockRequest{Name: name, Token: token},
		}}); err != nil {
			return err
		}
	}
	return nil
}

func command(stream weftv1.LockService_SynchronizeClient, c *weftv1.SynchronizeCommand) (*weftv1.SynchronizeAnswer, error) {
	err := stream.Send(&weftv1.SynchronizeRequest{Commands: []*weftv1.SynchronizeCommand{c}, AcknowledgedBelow: c.Number})
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		for _, a := range resp.GetAnswers() {
			if a.GetRefused() != nil {
				return nil, fmt.Errorf("command %d: %s", c.Number, a.GetRefused().GetMessage())
			}
			return a, nil
		}
	}
}
