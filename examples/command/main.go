// Command command runs a program on a worker and looks at its exit code. In Python it is
//
//	p = subprocess.Popen(["rsync", "-a", src, dst], stdout=PIPE, stderr=PIPE)
//	out, err = p.communicate(timeout=60)
//	if p.returncode != 0:
//	    sys.exit(err)
//
// Here the program runs on whichever worker is free, its output comes as it is written, and its exit code is durable:
// a broker that restarts meanwhile loses nothing. Try it beside `weft dev`:
//
//	go run ./examples/command -- rsync -a ~/photos/ /tmp/backup/
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, "", os.Stdout, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs a program on a worker and copies its standard output.
func run(ctx context.Context, broker string, out io.Writer, argv []string) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()

	limits := client.With(client.Spec{Timeout: time.Minute})
	future, err := client.SubmitCommand(ctx, c, &weftv1.Command{Argv: argv}, limits)
	if err != nil {
		return err
	}
	for chunk, err := range future.Output(ctx) { // live, each byte once
		switch {
		case err != nil:
			return err
		case !chunk.Stderr:
			_, _ = out.Write(chunk.Data)
		}
	}
	result, err := future.Wait(ctx)
	var failed *task.Error
	switch {
	case errors.As(err, &failed) && failed.Reason == task.ReasonExit:
		return fmt.Errorf("%s: exit status %d: %s", argv[0], result.GetExitCode(), result.GetStderr().GetText())
	case err != nil: // refused, not there, out of time, or the broker's
		return err
	}
	fmt.Fprintln(out, "exit status", result.GetExitCode())
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
