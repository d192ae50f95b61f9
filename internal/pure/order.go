package pure

import "slices"

// Order lists entities by number for listings. Numbers mostly come in order; those of entities that are gone
// are taken out now and then.
type Order struct {
	ids   []uint64
	stale bool // not sorted
}

// Add puts a number in. lives tells of a number whether its entity lives, and live is how many do. What [Order.After]
// returned before stays as it is.
func (o *Order) Add(id uint64, live int, lives func(uint64) bool) {
	if n := len(o.ids); n > 0 && o.ids[n-1] > id {
		o.stale = true
	}
	o.ids = append(o.ids, id)
	if len(o.ids) > 2*live+1024 {
		left := make([]uint64, 0, live+1024)
		for _, id := range o.ids {
			if lives(id) {
				left = append(left, id)
			}
		}
		o.ids = left
	}
}

// Has tells whether a number is listed.
func (o *Order) Has(id uint64) bool { return slices.Contains(o.ids, id) }

// After returns the numbers above one, in order. Some may be of entities that are gone.
func (o *Order) After(id uint64) []uint64 {
	if o.stale {
		slices.Sort(o.ids)
		o.ids = slices.Compact(o.ids)
		o.stale = false
	}
	from, _ := slices.BinarySearch(o.ids, id+1)
	return o.ids[from:]
}
