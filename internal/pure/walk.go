package pure

// Walk visits a heap's items in order without changing it. It is valid until the heap changes.
type Walk[T any] struct {
	heap     *Heap[T]
	frontier []int // items whose parents were visited, in order
}

// Walk begins a walk. Visiting the first n items takes O(n²) in the worst case, and is meant for few.
func (h *Heap[T]) Walk() Walk[T] {
	w := Walk[T]{heap: h}
	w.add(0)
	return w
}

func (w *Walk[T]) add(i int) {
	items := w.heap.items
	if i >= len(items) {
		return
	}
	w.frontier = append(w.frontier, i)
	for k := len(w.frontier) - 1; k > 0 && items[i].key.Less(items[w.frontier[k-1]].key); k-- {
		w.frontier[k], w.frontier[k-1] = w.frontier[k-1], i
	}
}

// Peek returns the next item and its key.
func (w *Walk[T]) Peek() (item T, key Key, ok bool) {
	if len(w.frontier) == 0 {
		return item, key, false
	}
	x := w.heap.items[w.frontier[0]]
	return x.item, x.key, true
}

// Step goes on to the item after.
func (w *Walk[T]) Step() {
	i := w.frontier[0]
	w.frontier = w.frontier[1:]
	w.add(2*i + 1)
	w.add(2*i + 2)
}
