// Command quit has a worker that can be told to stop, and asked whether it has. In Python it is
//
//	class Worker(threading.Thread):
//	    def __init__(self):
//	        self.lock, self.quit, self.done = threading.Lock(), False, False
//	    def stop(self):
//	        with self.lock: self.quit = True
//	    def is_done(self):
//	        with self.lock: return self.done
//
// Here the flags are values at the broker, so that who tells the worker to stop may be another program. No lock is needed
// to read or to set one of them, and nobody has to ask again and again: WaitUntil waits.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/client"
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// worker counts until it is told to stop.
type worker struct{ quit, done *client.Value[bool] }

func newWorker(c *client.Client, name string) *worker {
	return &worker{client.NewValue[bool](c, name+"/quit"), client.NewValue[bool](c, name+"/done")}
}

// start makes the flags as new.
func (w *worker) start(ctx context.Context) error {
	if _, err := w.quit.Set(ctx, false); err != nil {
		return err
	}
	_, err := w.done.Set(ctx, false)
	return err
}

// work counts, and looks at the flag now and then.
func (w *worker) work(ctx context.Context) (rounds int, err error) {
	for {
		quit, _, err := w.quit.Get(ctx)
		if err != nil {
			return rounds, err
		}
		if quit {
			_, err := w.done.Set(ctx, true)
			return rounds, err
		}
		rounds++
	}
}

// stop tells the worker to stop, wherever it is.
func (w *worker) stop(ctx context.Context) error {
	_, err := w.quit.Set(ctx, true)
	return err
}

// isDone tells whether it has.
func (w *worker) isDone(ctx context.Context) (bool, error) {
	done, _, err := w.done.Get(ctx)
	return done, err
}

// run starts a worker, stops it and waits for its end.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	w := newWorker(c, "counter")
	if err := w.start(ctx); err != nil {
		return err
	}
	var workErr error
	var group sync.WaitGroup
	group.Go(func() { _, workErr = w.work(ctx) })

	done, err := w.isDone(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "done before stop:", done)
	if err := w.stop(ctx); err != nil {
		return err
	}
	if _, err := w.done.WaitUntil(ctx, client.Equals(true)); err != nil {
		return err
	}
	group.Wait()
	if workErr != nil {
		return workErr
	}
	done, err = w.isDone(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "done after stop:", done)
	if err := w.quit.Delete(ctx); err != nil {
		return err
	}
	return w.done.Delete(ctx)
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
