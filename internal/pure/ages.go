package pure

// Age is an entity's place in an [Ages] list.
type Age[T any] struct {
	prev, next *T
	base       uint64
}

// Base is the sequence of the entity's last whole-state record.
func (a *Age[T]) Base() uint64 { return a.base }

// Ages lists entities by base, the oldest first. Compaction writes the oldest anew, which makes it the
// youngest, and so everything below the oldest base can be purged.
type Ages[T any] struct {
	oldest, youngest *T
	age              func(*T) *Age[T]
}

// NewAges returns an empty list; age says where an entity keeps its place.
func NewAges[T any](age func(*T) *Age[T]) Ages[T] { return Ages[T]{age: age} }

// Oldest returns the entity with the least base, nil if there is none.
func (l *Ages[T]) Oldest() *T { return l.oldest }

// Next returns the entity after e.
func (l *Ages[T]) Next(e *T) *T { return l.age(e).next }

// Base returns an entity's base.
func (l *Ages[T]) Base(e *T) uint64 { return l.age(e).base }

// Touch makes an entity the youngest, whether it was in the list or not. base is not below any other.
func (l *Ages[T]) Touch(e *T, base uint64) {
	if l.age(e).base != 0 {
		l.Remove(e)
	}
	a := l.age(e)
	a.base, a.prev, a.next = base, l.youngest, nil
	if l.youngest != nil {
		l.age(l.youngest).next = e
	} else {
		l.oldest = e
	}
	l.youngest = e
}

// Remove takes an entity out.
func (l *Ages[T]) Remove(e *T) {
	a := l.age(e)
	if a.base == 0 {
		return
	}
	if a.prev != nil {
		l.age(a.prev).next = a.next
	} else {
		l.oldest = a.next
	}
	if a.next != nil {
		l.age(a.next).prev = a.prev
	} else {
		l.youngest = a.prev
	}
	*a = Age[T]{}
}
