package pure

import "fmt"

// Key orders a heap: by A, then by B.
type Key struct {
	A int64
	B uint64
}

// Less tells whether a key comes before another.
func (k Key) Less(o Key) bool { return k.A < o.A || k.A == o.A && k.B < o.B }

// Heap is a priority queue whose items can be moved and removed: each item keeps its own place, one more
// than its index, 0 while it is out. Every operation is O(log n).
type Heap[T any] struct {
	items []heapItem[T]
	place func(T) *int32
}

type heapItem[T any] struct {
	key  Key
	item T
}

// NewHeap returns an empty heap; place says where an item keeps its place in this heap.
func NewHeap[T any](place func(T) *int32) Heap[T] { return Heap[T]{place: place} }

// Len is the number of items.
func (h *Heap[T]) Len() int { return len(h.items) }

// Min returns the least item and its key.
func (h *Heap[T]) Min() (item T, key Key, ok bool) {
	if len(h.items) == 0 {
		return item, key, false
	}
	return h.items[0].item, h.items[0].key, true
}

// Set puts an item in at a key, or moves it there.
func (h *Heap[T]) Set(item T, key Key) {
	p := h.place(item)
	if *p == 0 {
		h.items = append(h.items, heapItem[T]{key, item})
		*p = int32(len(h.items))
		h.up(len(h.items) - 1)
		return
	}
	i := int(*p) - 1
	h.items[i].key = key
	if !h.up(i) {
		h.down(i)
	}
}

// Remove takes an item out, if it is in.
func (h *Heap[T]) Remove(item T) {
	p := h.place(item)
	if *p == 0 {
		return
	}
	i, last := int(*p)-1, len(h.items)-1
	*p = 0
	moved := h.items[last]
	h.items[last] = heapItem[T]{}
	h.items = h.items[:last]
	if i == last {
		return
	}
	h.items[i] = moved
	*h.place(moved.item) = int32(i + 1)
	if !h.up(i) {
		h.down(i)
	}
}

func (h *Heap[T]) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.items[i].key.Less(h.items[parent].key) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *Heap[T]) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(h.items) {
			return
		}
		if right := least + 1; right < len(h.items) && h.items[right].key.Less(h.items[least].key) {
			least = right
		}
		if !h.items[least].key.Less(h.items[i].key) {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *Heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i].item) = int32(i + 1)
	*h.place(h.items[j].item) = int32(j + 1)
}

// Each calls fn for every item, in no order.
func (h *Heap[T]) Each(fn func(item T, key Key)) {
	for i := range h.items {
		fn(h.items[i].item, h.items[i].key)
	}
}

// Check returns an error if an item is above a lesser one, or does not know its place.
func (h *Heap[T]) Check() error {
	for i := range h.items {
		if p := *h.place(h.items[i].item); int(p) != i+1 {
			return fmt.Errorf("heap: the item at %d believes to be at %d", i, p-1)
		}
		if i > 0 && h.items[i].key.Less(h.items[(i-1)/2].key) {
			return fmt.Errorf("heap: the item at %d is less than the one above it", i)
		}
	}
	return nil
}
