// Command thumbs makes thumbnails of pictures, wherever workers are. In Python it is
//
//	with ProcessPoolExecutor() as pool:
//	    futures = {pool.submit(thumbnail, photo): photo for photo in photos}
//	    for future in as_completed(futures):
//	        print(futures[future], future.result())
//
// Here kinds are typed, a picture that was begun goes on from its checkpoint, and breaking the loop cancels the rest. The
// handlers count under a lock which they share with the client, wherever they are.
//
//	go run ./examples/thumbs ~/pictures/*.png
package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// Photo is a picture to be made smaller.
type Photo struct {
	Path  string
	Width int // of the thumbnail
}

// Size is that of a thumbnail.
type Size struct{ Width, Height int }

// Thumb is what clients and workers share; input and result travel as JSON.
var Thumb = task.Define[Photo, Size]("thumb")

func main() {
	var photos []Photo
	for _, path := range os.Args[1:] {
		photos = append(photos, Photo{Path: path, Width: 64})
	}
	if err := run(context.Background(), "", os.Stdout, photos); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is a worker and the client that has it work.
func run(ctx context.Context, broker string, out io.Writer, photos []Photo) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	s := newStudio(c)
	if _, err := s.made.Set(ctx, 0); err != nil {
		return err
	}
	w, err := worker.New(worker.Config{Broker: broker})
	if err != nil {
		return err
	}
	worker.Handle(w, Thumb, s.thumbnail)
	working, drain := context.WithCancel(ctx)
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(working) }()
	defer func() { drain(); <-workerC }()

	good := int64(0)
	for r := range client.Map(ctx, c, Thumb, slices.Values(photos), client.InFlight(1000)) {
		var failed *task.Error // typed reason, remote stack
		switch {
		case errors.As(r.Err, &failed):
			fmt.Fprintf(out, "%s: %s: %s\n", r.In.Path, failed.Reason, failed.Message)
		case r.Err != nil:
			return r.Err
		default:
			good++
			fmt.Fprintf(out, "%s: %d x %d\n", r.In.Path, r.Out.Width, r.Out.Height)
		}
	}
	return s.finish(ctx, good, out)
}

// studio counts the thumbnails that were made, by all workers.
type studio struct {
	mu      *client.Lock
	counted *client.Condition
	made    *client.Value[int64]
}

func newStudio(c *client.Client) *studio {
	mu := c.Lock("thumbs")
	return &studio{mu: mu, counted: c.Condition("thumbs/counted", mu), made: client.NewValue[int64](c, "thumbs/made")}
}

// count counts a thumbnail. The attempt whose context this is holds the lock: should its worker be lost, so is the lock, and a late
// change is refused.
func (s *studio) count(ctx context.Context) error {
	return s.mu.Do(ctx, func(ctx context.Context) error {
		if _, err := client.Add(ctx, s.made, 1, client.Guarded(s.mu)); err != nil {
			return err
		}
		return s.counted.NotifyAll(ctx)
	})
}

// finish waits until so many have been counted.
func (s *studio) finish(ctx context.Context, good int64, out io.Writer) error {
	return s.mu.Do(ctx, func(ctx context.Context) error { // ctx: the holder, dead when the lease is
		made := int64(0)
		ready := func(ctx context.Context) (_ bool, err error) {
			made, _, err = s.made.Get(ctx)
			return made >= good, err
		}
		if err := s.counted.WaitFor(ctx, ready); err != nil {
			return err
		}
		token, err := s.mu.Token(ctx) // the grant after the wait
		if err != nil {
			return err
		}
		if err := s.mu.Check(ctx, token); err != nil {
			return err
		}
		fmt.Fprintln(out, "made:", made)
		return s.made.Delete(ctx)
	})
}

// thumbnail writes a smaller picture beside the picture, a tenth of its rows at a step.
func (s *studio) thumbnail(ctx context.Context, p Photo) (Size, error) {
	picture, err := read(p.Path)
	if err != nil {
		return Size{}, task.Permanent(&task.Error{Reason: "no_picture", Message: err.Error()}) // is not tried again
	}
	from := picture.Bounds()
	size := Size{Width: p.Width, Height: max(1, from.Dy()*p.Width/max(1, from.Dx()))}
	small := image.NewGray(image.Rect(0, 0, size.Width, size.Height))

	a, step := task.Current(ctx), 0
	var done []byte // of an earlier attempt
	if found, err := a.Load(&done); err != nil {
		return Size{}, err
	} else if found && len(done) > 0 {
		step = int(done[0])
		copy(small.Pix, done[1:])
	}
	for ; step < 10; step++ {
		if ctx.Err() != nil {
			return Size{}, context.Cause(ctx) // cancelled, timed out, drained, or the lease is lost
		}
		for y := step * size.Height / 10; y < (step+1)*size.Height/10; y++ {
			for x := range size.Width {
				at := picture.At(from.Min.X+x*from.Dx()/size.Width, from.Min.Y+y*from.Dy()/size.Height)
				small.Set(x, y, color.GrayModel.Convert(at))
			}
		}
		a.Progress(int64(step+1), 10)
		if err := a.Save(append([]byte{byte(step + 1)}, small.Pix...)); err != nil {
			return Size{}, err
		}
	}
	if err := write(strings.TrimSuffix(p.Path, ".png")+".thumb.png", small); err != nil {
		return Size{}, err
	}
	return size, s.count(ctx)
}

func read(path string) (image.Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return png.Decode(file)
}

// write puts the file in its place whole: another attempt may be about to do the same.
func write(path string, picture image.Image) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".thumb-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := errors.Join(png.Encode(file, picture), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
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
