package pure

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type thing struct {
	id    uint64
	key   Key
	place int32
	age   Age[thing]
}

func TestHeapAgainstSorting(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := NewHeap(func(x *thing) *int32 { return &x.place })
		var in []*thing
		for i := range uint64(200) {
			switch {
			case len(in) == 0 || rng.IntN(3) > 0:
				x := &thing{id: i, key: Key{int64(rng.IntN(20)), i}}
				h.Set(x, x.key)
				in = append(in, x)
			case rng.IntN(2) == 0:
				x := in[rng.IntN(len(in))]
				x.key.A = int64(rng.IntN(20))
				h.Set(x, x.key)
			default:
				k := rng.IntN(len(in))
				h.Remove(in[k])
				h.Remove(in[k]) // once more does nothing
				in = slices.Delete(in, k, k+1)
			}
			if h.Len() != len(in) {
				t.Fatalf("seed %d: %d items, want %d", seed, h.Len(), len(in))
			}
		}
		slices.SortFunc(in, func(a, b *thing) int {
			if a.key.Less(b.key) {
				return -1
			}
			return 1
		})
		for _, want := range in {
			got, key, ok := h.Min()
			if !ok || got != want || key != want.key {
				t.Fatalf("seed %d: least is %v, want %v", seed, got, want)
			}
			h.Remove(got)
		}
		if _, _, ok := h.Min(); ok {
			t.Fatalf("seed %d: not empty", seed)
		}
	}
}

func TestRangesAgainstMap(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var r Ranges
		want := map[uint64]bool{}
		for range 40 {
			first := rng.Uint64N(100)
			last := first + rng.Uint64N(8)
			r.Add(first, last)
			for i := first; i <= last; i++ {
				want[i] = true
			}
			checkRanges(t, r, want)
		}
		first := rng.Uint64N(100)
		last := first + rng.Uint64N(50)
		seen := map[uint64]bool{}
		r.Overlap(first, last, func(x Range) {
			for i := x.First; i <= x.Last; i++ {
				seen[i] = true
			}
		})
		r.Gaps(first, last, func(x Range) {
			for i := x.First; i <= x.Last; i++ {
				if seen[i] || want[i] {
					t.Fatalf("seed %d: %d is no gap", seed, i)
				}
				seen[i] = true
			}
		})
		if uint64(len(seen)) != last-first+1 {
			t.Fatalf("seed %d: overlap and gaps cover %d of %d", seed, len(seen), last-first+1)
		}
	}
}

func checkRanges(t *testing.T, r Ranges, want map[uint64]bool) {
	t.Helper()
	if r.Count() != uint64(len(want)) {
		t.Fatalf("%v has %d, want %d", r, r.Count(), len(want))
	}
	for k, x := range r {
		if x.First > x.Last || k > 0 && x.First <= r[k-1].Last+1 {
			t.Fatalf("%v is not canonical", r)
		}
	}
	for i := range uint64(120) {
		if r.Contains(i) != want[i] {
			t.Fatalf("%v: Contains(%d) = %v", r, i, r.Contains(i))
		}
	}
}

func TestRangesAtTheEnds(t *testing.T) {
	var r Ranges
	const top = ^uint64(0)
	r.Add(top, top)
	r.Add(0, 0)
	if !r.Contains(0) || !r.Contains(top) || r.Count() != 2 {
		t.Fatalf("%v", r)
	}
	r.Add(1, top-1)
	if len(r) != 1 {
		t.Fatalf("%v", r)
	}
}

func TestAges(t *testing.T) {
	l := NewAges(func(x *thing) *Age[thing] { return &x.age })
	a, b, c := &thing{id: 1}, &thing{id: 2}, &thing{id: 3}
	order := func() (ids []uint64) {
		for x := l.Oldest(); x != nil; x = l.Next(x) {
			ids = append(ids, x.id)
		}
		return ids
	}
	for i, x := range []*thing{a, b, c} {
		l.Touch(x, uint64(i+1))
	}
	l.Touch(a, 4)
	if got := order(); !slices.Equal(got, []uint64{2, 3, 1}) {
		t.Fatal(got)
	}
	l.Remove(c)
	l.Remove(c)
	l.Touch(b, 5)
	if got := order(); !slices.Equal(got, []uint64{1, 2}) || l.Oldest().age.Base() != 4 {
		t.Fatal(got)
	}
}
