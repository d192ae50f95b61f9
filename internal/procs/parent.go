package procs

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
)

// envParent tells a child which of its files is the pipe from its parent.
const envParent = "WEFT_PARENT_FD"

// UntilParentDies returns a context that ends when the parent is gone, if the process was started by
// [Start], and otherwise just ctx.
func UntilParentDies(ctx context.Context) context.Context {
	fd, err := strconv.Atoi(os.Getenv(envParent))
	if err != nil || fd < 3 {
		return ctx
	}
	_ = os.Unsetenv(envParent) // it is not for this process's own children
	pipe := os.NewFile(uintptr(fd), "parent")
	if pipe == nil {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, pipe) // nothing is ever written
		cancel(ErrParentGone)
	}()
	return ctx
}

// ErrParentGone is the cause of the end of a context of [UntilParentDies].
var ErrParentGone = errors.New("procs: the parent process is gone")
