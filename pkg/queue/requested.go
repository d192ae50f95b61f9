package queue

// Requested returns the task that a request submitted, while the task is known.
func (c *Core) Requested(namespace, requestID string) (*TaskState, bool) {
	t := c.requests[name{namespace, requestID}]
	if t == nil || requestID == "" {
		return nil, false
	}
	return &t.TaskState, true
}
