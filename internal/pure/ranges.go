package pure

import (
	"slices"
	"sort"
)

// Range is a range of indexes, both ends included.
type Range struct{ First, Last uint64 }

// Ranges is a set of indexes as ranges: sorted, apart from one another, not adjacent.
type Ranges []Range

// after returns the position of the first range that ends at or after i.
func (r Ranges) after(i uint64) int {
	if n := len(r); n > 0 && r[n-1].First <= i { // the common case: at the end
		if i <= r[n-1].Last {
			return n - 1
		}
		return n
	}
	return sort.Search(len(r), func(k int) bool { return r[k].Last >= i })
}

// Contains tells whether an index is in the set.
func (r Ranges) Contains(i uint64) bool {
	k := r.after(i)
	return k < len(r) && r[k].First <= i
}

// Count is the number of indexes in the set.
func (r Ranges) Count() (n uint64) {
	for _, x := range r {
		n += x.Last - x.First + 1
	}
	return n
}

// Add puts every index from first to last into the set.
func (r *Ranges) Add(first, last uint64) {
	s := *r
	from := s.after(first)
	if from > 0 && s[from-1].Last+1 == first { // adjacent below; first > 0 there
		from--
	}
	to := from
	for to < len(s) && (s[to].First <= last || s[to].First == last+1) {
		first, last = min(first, s[to].First), max(last, s[to].Last)
		to++
	}
	*r = slices.Replace(s, from, to, Range{first, last})
}

// Union puts every index of other into the set. It takes time linear in both, but for a few ranges.
func (r *Ranges) Union(other Ranges) {
	const few = 4
	if len(other) <= few {
		for _, x := range other {
			r.Add(x.First, x.Last)
		}
		return
	}
	merged := make(Ranges, 0, len(*r)+len(other))
	for a, b := *r, other; len(a) > 0 || len(b) > 0; {
		if len(b) == 0 || len(a) > 0 && a[0].First <= b[0].First {
			merged.Add(a[0].First, a[0].Last)
			a = a[1:]
		} else {
			merged.Add(b[0].First, b[0].Last)
			b = b[1:]
		}
	}
	*r = merged
}

// Overlap calls fn for each stretch from first to last that is in the set, in order.
func (r Ranges) Overlap(first, last uint64, fn func(Range)) {
	for k := r.after(first); k < len(r) && r[k].First <= last; k++ {
		fn(Range{max(first, r[k].First), min(last, r[k].Last)})
	}
}

// Gaps calls fn for each stretch from first to last that is not in the set, in order.
func (r Ranges) Gaps(first, last uint64, fn func(Range)) {
	at := first
	for k := r.after(first); k < len(r) && r[k].First <= last; k++ {
		if r[k].First > at {
			fn(Range{at, r[k].First - 1})
		}
		if r[k].Last >= last {
			return
		}
		at = r[k].Last + 1
	}
	fn(Range{at, last})
}

// Clone returns a copy.
func (r Ranges) Clone() Ranges { return append(Ranges(nil), r...) }
