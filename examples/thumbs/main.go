// Command thumbs makes thumbnails of pictures, wherever workers are. In Python it is
//
//	with ProcessPoolExecutor() as pool:
//	    futures = {pool.submit(thumbnail, photo): photo for photo in photos}
//	    for future in as_completed(futures):
//	        print(futures[future], future.result())
//
// Here kinds are typed, a picture that was begun goes on from its checkpoint, and breaking the loop cancels the rest.
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
	w, err := worker.New(worker.Config{Broker: broker})
	if err != nil {
		return err
	}
	worker.Handle(w, Thumb, thumbnail)
	working, drain := context.WithCancel(ctx)
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(working) }()
	defer func() { drain(); <-workerC }()

	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	for r := range client.Map(ctx, c, Thumb, slices.Values(photos), client.InFlight(1000)) {
		var failed *task.Error // typed reason, remote stack
		switch {
		case errors.As(r.Err, &failed):
			fmt.Fprintf(out, "%s: %s: %s\n", r.In.Path, failed.Reason, failed.Message)
		case r.Err != nil:
			return r.Err
		default:
			fmt.Fprintf(out, "%s: %d x %d\n", r.In.Path, r.Out.Width, r.Out.Height)
		}
	}
	return nil
}

// thumbnail writes a smaller picture beside the picture, a tenth of its rows at a step.
func thumbnail(ctx context.Context, p Photo) (Size, error) {
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
	return size, write(strings.TrimSuffix(p.Path, ".png")+".thumb.png", small)
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
