// Command sharedvalue has two processes add to one value, one of them 1 and the other 2. In Python it is
//
//	def add(value, n):
//	    for _ in range(100):
//	        with value.get_lock(): value.value += n
//	value = multiprocessing.Value("i", 0)
//	a, b = Process(target=add, args=(value, 1)), Process(target=add, args=(value, 2))
//
// Here the program starts itself twice; the processes have nothing in common but the name of the value, and could as well
// be on two machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/weftq/weft/pkg/client"
)

func main() {
	ctx := context.Background()
	var err error
	if n := os.Getenv("ADD"); n != "" {
		err = add(ctx, os.Getenv("ADD_AT"), n)
	} else {
		err = run(ctx, "", os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const rounds = 20

// run starts both processes and prints the sum.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	sum := client.NewValue[int64](c, "sum")
	if _, err := sum.Set(ctx, 0); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var started []*exec.Cmd
	for _, n := range []string{"1", "2"} {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), "ADD="+n, "ADD_AT="+broker)
		cmd.Stderr = os.Stderr
		if err = cmd.Start(); err != nil {
			break
		}
		started = append(started, cmd)
	}
	for _, cmd := range started {
		err = errors.Join(err, cmd.Wait())
	}
	if err != nil {
		return err
	}
	got, _, err := sum.Get(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d times 1 and %d times 2: %d\n", rounds, rounds, got)
	return sum.Delete(ctx)
}

// add is one of the processes.
func add(ctx context.Context, broker, number string) error {
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	sum := client.NewValue[int64](c, "sum")
	for range rounds {
		err := sum.Lock().Do(ctx, func(ctx context.Context) error {
			now, _, err := sum.Get(ctx)
			if err != nil {
				return err
			}
			_, err = sum.Set(ctx, now+n, client.Guarded(sum.Lock()))
			return err
		})
		if err != nil {
			return err
		}
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
