package cli

import (
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"strings"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// inherited tells whether this program acts as the holder of who has started it.
func inherited() bool { return os.Getenv(client.EnvHolder) != "" }

// holder gives a context its holder: that of who has started this program, else a new one of that name.
func (a *App) holder(ctx context.Context, name string) (context.Context, error) {
	if inherited() {
		if _, err := inheritedHolder(); err != nil {
			return nil, err
		}
		return client.HolderFromEnv(ctx)
	}
	const nameMax = 256
	return client.NewHolder(ctx, strings.ToValidUTF8(name[:min(len(name), nameMax)], "")), nil
}

// inheritedHolder is the same holder for single requests.
func inheritedHolder() (*weftv1.Holder, error) {
	text := os.Getenv(client.EnvHolder)
	session, last, ok := strings.Cut(text, ":")
	number, err := strconv.ParseUint(last, 10, 64)
	if !ok || err != nil || session == "" {
		return nil, Usage("$%s is %s, not SESSION_ID:NUMBER", client.EnvHolder, shorten(text))
	}
	return &weftv1.Holder{SessionId: session, Number: number}, nil
}

// releaseInherited releases a lock of a holder that this program acts as, among others. One of those may have waited at a
// condition, which changes the token: then the lock is acquired once more, which tells the new one.
func releaseInherited(ctx context.Context, c *client.Client, lock *client.Lock, request *weftv1.AcquireLockRequest, all bool) error {
	ctx = context.WithoutCancel(ctx) // it ends with the lock
	err := lock.Release(ctx)
	if !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_NOT_HELD) {
		return err
	}
	holder, err := inheritedHolder()
	if err != nil {
		return err
	}
	request.Namespace, request.Name, request.Holder = c.Namespace(), lock.Name(), holder
	request.Reentrant, request.Wait, request.RequestId = true, noWait(), rand.Text()
	answer, err := ask(ctx, c, locksClient.AcquireLock, request)
	if err != nil || !answer.GetAcquired() {
		return err
	}
	release := &weftv1.ReleaseLockRequest{
		Namespace: c.Namespace(), Name: lock.Name(), Holder: holder, Token: answer.GetGrant().GetToken(), All: all,
	}
	for range min(answer.GetGrant().GetDepth(), 2) { // the level of this acquire, and the one that is to be released
		release.RequestId = rand.Text()
		if _, err = ask(ctx, c, locksClient.ReleaseLock, release); err != nil || all {
			break
		}
	}
	return err
}
