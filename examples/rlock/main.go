// Command rlock takes a lock again while it holds it. In Python it is
//
//	lock = threading.RLock()
//	def visit(node):
//	    with lock:
//	        for child in node.children: visit(child)
//
// Here the holder is not a thread but whoever has the context: a function that is given it may take the lock once more, on
// whatever goroutine it runs. Others, on other machines, wait until the outermost call has let go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weftq/weft/pkg/client"
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// node is a directory of a small tree.
type node struct {
	name     string
	children []node
}

var tree = node{"/", []node{{"etc", nil}, {"usr", []node{{"bin", nil}, {"lib", nil}}}}}

// run walks the tree, and takes the lock at each level of it.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	return visit(ctx, c.Lock("tree").Reentrant(), tree, 0, out)
}

// visit prints a node and those below it. It does not have to know whether its caller has the lock.
func visit(ctx context.Context, lock *client.Lock, n node, depth int, out io.Writer) error {
	return lock.Do(ctx, func(ctx context.Context) error {
		if _, err := fmt.Fprintf(out, "%*s%s\n", 2*depth, "", n.name); err != nil {
			return err
		}
		for _, child := range n.children {
			if err := visit(ctx, lock, child, depth+1, out); err != nil {
				return err
			}
		}
		return nil
	})
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
