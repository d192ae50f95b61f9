package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// ownNames begin the errors of packages: programs want them, people do not.
var ownNames = []string{"weft: ", "client: ", "worker: ", "broker: "}

// words is an error for people, and what can be done about it.
func (a *App) words(err error) string {
	text := strings.ReplaceAll(err.Error(), ": weft: ", ": ")
	for again := true; again; {
		again = false
		for _, name := range ownNames {
			if rest, ok := strings.CutPrefix(text, name); ok {
				text, again = rest, true
			}
		}
	}
	return text + a.advice(err)
}

// advice is what can be done about an error, as the end of its sentence.
func (a *App) advice(err error) string {
	reason, metadata := reasonOf(err)
	code := status.Code(err)
	switch queue := metadata["queue"]; {
	case reason == weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND && queue != "":
		namespace := ""
		if a.namespace != "" {
			namespace = "-n " + quoteArg(a.namespace) + " "
		}
		return " (weft " + namespace + "queue create " + quoteArg(queue) + ")"
	case code == codes.Unauthenticated, code == codes.PermissionDenied:
		return " (the key is in $" + client.EnvKey + ")"
	default:
		return ""
	}
}

// reasonOf is the broker's reason for an error, of the client's SDK or of gRPC itself; unspecified is none.
func reasonOf(err error) (weftv1.ErrorReason, map[string]string) {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Reason, e.Metadata
	}
	st, ok := status.FromError(err)
	if !ok {
		return 0, nil
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return weftv1.ErrorReason(weftv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()]), info.GetMetadata()
		}
	}
	return 0, nil
}

// plural is a number with the word for one, or for several.
func plural[T int | int64 | uint32 | uint64](n T, one, more string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, more)
}

// shortMax is how much of what a person gave is shown again, in characters.
const shortMax = 80

// shorten is a text on one line that is not long, for messages.
func shorten(text string) string {
	head := text[:min(len(text), 4*shortMax)]
	if strings.ContainsFunc(head, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		quoted := strconv.Quote(head)
		return shortenPlain(quoted[1 : len(quoted)-1])
	}
	return shortenPlain(text)
}

// shortenPlain cuts a text that can be printed.
func shortenPlain(text string) string {
	count := 0
	for i := range text {
		if count++; count > shortMax {
			return text[:i] + "…"
		}
	}
	return text
}
