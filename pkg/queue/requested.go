package queue

import (
	"strconv"
	"strings"

	"github.com/weftq/weft/internal/pure"
)

// Requested returns the task that a request submitted, while the task is known.
func (c *Core) Requested(namespace, requestID string) (*TaskState, bool) {
	t := c.requests[name{namespace, requestID}]
	if t == nil || requestID == "" {
		return nil, false
	}
	return &t.TaskState, true
}

// requestItem parts the number of a task in its request from the request's id, which does not have it.
const requestItem = "\x00"

// RequestOf is the request of one task of a request for several. No request for one task alone has the same id.
func RequestOf(requestID string, item int) string {
	if requestID == "" {
		return ""
	}
	return requestID + requestItem + strconv.Itoa(item)
}

func requestMismatch(requestID string) *pure.Refusal {
	asked, _, _ := strings.Cut(requestID, requestItem)
	return pure.Refuse(pure.RequestMismatch, "a request with this id had another body", "request_id", asked)
}
