package lockservice

// Records. Each says what happened, and assigns.
type (
	// GrantPut is a grant's whole state.
	GrantPut struct{ State GrantState }

	// GrantChanged assigns what changes of a grant while it lives.
	GrantChanged struct {
		Token     uint64
		Depth     uint32
		Published string
	}

	// GrantDropped ends a grant.
	GrantDropped struct{ Token uint64 }

	// WaiterPut is a waiter's whole state.
	WaiterPut struct{ State WaiterState }

	// WaiterEnded ends a waiter, whatever came of it.
	WaiterEnded struct{ ID uint64 }

	// WaiterMoved has a waiter of a condition wait for the lock again.
	WaiterMoved struct {
		ID       uint64
		Order    uint64
		Notified bool
	}

	// SemaphorePut is a semaphore's whole state.
	SemaphorePut struct{ State SemaphoreState }

	// SemaphoreDropped ends a semaphore.
	SemaphoreDropped struct{ Namespace, Name string }

	// EventPut is an event's whole state.
	EventPut struct{ State EventState }

	// EventDropped ends an event.
	EventDropped struct{ Namespace, Name string }

	// BarrierPut is a barrier's whole state.
	BarrierPut struct{ State BarrierState }

	// BarrierDropped ends a barrier.
	BarrierDropped struct{ Namespace, Name string }

	// ValuePut is a value's whole state.
	ValuePut struct{ State ValueState }

	// ValueDropped ends a value.
	ValueDropped struct{ Namespace, Name string }

	// Answered keeps the answer to a request.
	Answered struct {
		Namespace string
		Origin    Origin
		Answer    Answer
		Object    string // as in Kept
	}

	// WindowPut is all that a channel of a session has to be answered with again.
	WindowPut struct{ State WindowState }

	// WindowDropped ends a channel that has acknowledged everything.
	WindowDropped struct{ Channel Channel }

	// RequestsDropped ends the memory of requests.
	RequestsDropped struct {
		Namespace string
		IDs       []string
	}
)
