// Command daemon shows what becomes of tasks when the program that submitted them ends. In Python it is
//
//	Thread(target=heartbeat, daemon=True).start()    # ends with the program
//	Thread(target=report).start()                    # the program waits for it
//
// Here a daemon task ends with its submitter's session, also when that program is killed or its machine is gone. Any
// other task outlives it: the program need not wait, and another one may ask for the result later.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

var (
	heartbeat = task.Define[string, string]("heartbeat")
	report    = task.Define[int, string]("report")
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is a worker and two programs, one after the other.
func run(ctx context.Context, broker string, out io.Writer) error {
	w, err := worker.New(worker.Config{Broker: broker, Slots: 4})
	if err != nil {
		return err
	}
	stopped, leave := make(chan error, 1), make(chan struct{})
	worker.Handle(w, heartbeat, func(ctx context.Context, _ string) (string, error) {
		task.Current(ctx).Progress(1, 0) // it runs
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return "", context.Cause(ctx)
	})
	worker.Handle(w, report, func(ctx context.Context, pages int) (string, error) {
		select {
		case <-leave: // the program that asked for it is gone
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		return fmt.Sprintf("%d pages", pages), nil
	})
	working, drain := context.WithCancel(ctx)
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(working) }()
	defer func() { drain(); <-workerC }()

	reportID, err := first(ctx, broker)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the daemon task:", <-stopped)
	close(leave)
	return second(ctx, broker, out, reportID)
}

// first submits both and ends.
func first(ctx context.Context, broker string) (reportID string, err error) {
	c, err := dial(ctx, broker)
	if err != nil {
		return "", err
	}
	defer c.Close() // a crash would do as well, after the session's TTL of 10 s
	daemon := client.With(client.Spec{Daemon: true})
	beat, err := client.Submit(ctx, c, heartbeat, "", daemon)
	if err != nil {
		return "", err
	}
	spec, err := client.NewSpec(report, 12, client.With(client.Spec{Retention: time.Hour})) // for whoever asks
	if err != nil {
		return "", err
	}
	if reportID, err = c.Enqueue(ctx, spec); err != nil {
		return "", err
	}
	for _, err := range beat.Progress(ctx) {
		return reportID, err // it has begun
	}
	return reportID, nil
}

// second is another program, which knows the task's name.
func second(ctx context.Context, broker string, out io.Writer, reportID string) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := client.Attach(ctx, c, report, reportID).Wait(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the report:", text)
	return nil
}

// dial is a client of a broker that is there: without the Ping, everything else would wait for one.
func dial(ctx context.Context, broker string) (*client.Client, error) {
	c, err := client.Dial(broker) // empty is $WEFT_BROKER, else 127.0.0.1:9338
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ping(short); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%w (weft dev starts one)", err)
	}
	return c, nil
}
