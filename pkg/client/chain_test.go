package client_test

import (
	"strconv"
	"testing"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Tasks that are after others, through a queue that has room for two: some are refused for want of room, some wait
// behind others, and some are submitted when what they are after is long over.
func TestChainThroughAFullQueue(t *testing.T) {
	addr, stop := start()
	defer stop()
	c, err := client.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if err := c.Queue("").Update(ctx, client.MaxSize(2)); err != nil {
		t.Fatal(err)
	}
	call := c.NewCall()
	defer call.Close()
	var fs []*client.SpecFuture
	for i := range 300 {
		spec := client.Spec{Kind: "upper", Payload: task.Text("x" + strconv.Itoa(i))}
		if i%100 == 50 {
			spec.Payload = task.Payload{} // fails
		}
		if i%100 != 0 {
			spec.After = client.After(fs[i-1], fs[i-i%100])
		}
		f, err := call.Submit(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		if fs = append(fs, f); i == 20 {
			if _, err := f.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, f := range fs {
		want := weftv1.TaskState_TASK_STATE_SUCCEEDED
		switch {
		case i%100 == 50:
			want = weftv1.TaskState_TASK_STATE_FAILED
		case i%100 > 50:
			want = weftv1.TaskState_TASK_STATE_CANCELLED
		}
		if o, err := f.Wait(ctx); err != nil || o.State != want {
			t.Fatalf("task %d: %v, %v; want %v", i, o, err, want)
		}
	}
}
