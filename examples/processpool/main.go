// Command processpool starts processes and terminates those that are not needed any more. In Python it is
//
//	processes = [Process(target=search, args=(part,)) for part in parts]
//	…
//	for p in processes:     # one has found it
//	    p.terminate()
//	    p.join()
//
// Here the processes are commands on workers. The first that succeeds ends the others: SIGTERM to the whole process
// group, and after the grace SIGKILL; each end is acknowledged, so nothing is left running. Try it beside
// `weft dev`.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func main() {
	searches := []string{"sleep 60; echo slow", "sleep 1; echo fast", "sleep 60; echo slow too"}
	if err := run(context.Background(), "", os.Stdout, searches); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs the searches at once, and ends them when one has succeeded.
func run(ctx context.Context, broker string, out io.Writer, searches []string) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	pool := client.NewPool(c)
	defer pool.Close()

	var futures []*client.Future[*weftv1.CommandResult]
	for _, line := range searches {
		f, err := client.SubmitCommand(ctx, pool, &weftv1.Command{Argv: []string{"sh", "-c", line}},
			client.With(client.Spec{Daemon: true})) // should this program die, so do they
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	done, running, err := client.Wait(ctx, client.FirstCompleted, futures...)
	if err != nil {
		return err
	}
	result, err := done[0].Wait(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, "found by: ", result.GetStdout().GetText())
	for _, f := range running {
		f.Cancel(2 * time.Second) // between asking and killing; Terminate does not ask
	}
	if err := pool.Shutdown(ctx); err != nil { // the ends are known
		return err
	}
	for _, f := range running {
		outcome, _ := f.Outcome()
		fmt.Fprintln(out, "ended:", outcome.State, outcome.Command.GetSignal())
	}
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
