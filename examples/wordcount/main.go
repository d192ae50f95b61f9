// Command wordcount counts the words of files. In Python it is
//
//	with ProcessPoolExecutor() as pool:
//	    for path, words in zip(paths, pool.map(count, paths)):
//	        print(path, words)
//
// Here the map has a name, made of its inputs: run again after a crash, it does not count again what was counted. A large file's count is
// saved now and then, so that another attempt, on another worker, goes on from there. The worker reads the files: it
// has to see the same ones as the client, as this program's own does.
//
//	go run ./examples/wordcount /usr/share/doc/*/README*
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// count takes a path and gives its words.
var count = task.Define[string, int]("wordcount")

func main() {
	if err := run(context.Background(), "", os.Stdout, nameOf(os.Args[1:]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// nameOf is the map's name: of these files as they are. Other inputs are another map, and a map of the same name would
// refuse them.
func nameOf(paths []string) string {
	hash := sha256.New()
	for _, path := range paths {
		var size, changed int64
		if info, err := os.Stat(path); err == nil {
			size, changed = info.Size(), info.ModTime().UnixNano()
		}
		fmt.Fprintf(hash, "%q %d %d\n", path, size, changed)
	}
	return fmt.Sprintf("wordcount/%x", hash.Sum(nil))
}

// run is a worker and the client that has it work.
func run(ctx context.Context, broker string, out io.Writer, name string, paths []string) error {
	w, err := worker.New(worker.Config{Broker: broker, Slots: 4})
	if err != nil {
		return err
	}
	worker.Handle(w, count, countWords)
	working, drain := context.WithCancel(ctx)
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(working) }()
	defer func() { drain(); <-workerC }()

	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	total := 0
	for r := range client.Map(ctx, c, count, slices.Values(paths), client.Name(name), client.InFlight(100)) {
		switch {
		case r.Err != nil && r.Outcome == nil: // of the whole map
			return r.Err
		case r.Err != nil:
			fmt.Fprintf(out, "%s: %v\n", r.In, r.Err)
		default:
			fmt.Fprintf(out, "%s %d\n", r.In, r.Out)
			total += r.Out
		}
	}
	fmt.Fprintln(out, "total", total)
	return nil
}

// state is a count under way.
type state struct {
	Offset int64
	Words  int
}

// saveEvery lies between two checkpoints, in bytes.
const saveEvery = 1 << 20

// countWords counts a file's words, from the last attempt's checkpoint on. It leaves when it has to.
func countWords(ctx context.Context, path string) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, task.Permanent(err) // trying again will not help
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	a, s := task.Current(ctx), state{}
	if _, err := a.Load(&s); err != nil {
		return 0, err
	}
	if _, err := file.Seek(s.Offset, io.SeekStart); err != nil {
		return 0, err
	}
	reader, saved := bufio.NewReader(file), s.Offset
	for inWord := false; ; {
		b, err := reader.ReadByte()
		if err == io.EOF {
			return s.Words, nil
		} else if err != nil {
			return 0, err
		}
		s.Offset++
		space := b == ' ' || b == '\n' || b == '\t' || b == '\r'
		if !space && !inWord {
			s.Words++
		}
		if inWord = !space; !inWord && s.Offset-saved >= saveEvery { // between two words
			if ctx.Err() != nil {
				return 0, context.Cause(ctx) // cancelled, timed out, drained, or the lease is lost
			}
			a.Progress(s.Offset, info.Size())
			if err := a.Save(s); err != nil {
				return 0, err
			}
			saved = s.Offset
		}
	}
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
