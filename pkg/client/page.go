package client

import (
	"iter"
	"maps"
	"slices"
)

// pageBits makes pages of 64 futures: indexes are dense, and a straggler keeps half a kilobyte alive,
// not everything that came after it.
const pageBits = 6

// pageMask is an index's place in its page.
const pageMask = 1<<pageBits - 1

// page has the futures of 64 indexes that follow each other.
type page struct {
	futures [1 << pageBits]*SpecFuture
	live    int
}

// pages is the call's futures by index.
type pages struct {
	byNumber map[uint64]*page
	last     *page // the page of the last look-up: neighbours follow
	number   uint64
}

// find returns the page of an index, nil if there is none.
func (p *pages) find(index uint64) *page {
	number := index >> pageBits
	if p.last != nil && p.number == number {
		return p.last
	}
	pg := p.byNumber[number]
	if pg != nil {
		p.last, p.number = pg, number
	}
	return pg
}

// get returns the future at an index, nil if there is none.
func (p *pages) get(index uint64) *SpecFuture {
	if pg := p.find(index); pg != nil {
		return pg.futures[index&pageMask]
	}
	return nil
}

// put adds a future at an index that has none.
func (p *pages) put(index uint64, f *SpecFuture) {
	pg := p.find(index)
	if pg == nil {
		if p.byNumber == nil {
			p.byNumber = make(map[uint64]*page)
		}
		pg = &page{}
		p.byNumber[index>>pageBits] = pg
	}
	pg.futures[index&pageMask] = f
	pg.live++
}

// remove forgets the future at an index, which has one.
func (p *pages) remove(index uint64) {
	pg := p.find(index)
	pg.futures[index&pageMask] = nil
	pg.live--
	if pg.live == 0 {
		delete(p.byNumber, index>>pageBits)
		if p.last == pg {
			p.last = nil
		}
	}
}

// all walks the futures by index. It is for reconnects and the end; none may be added or removed.
func (p *pages) all() iter.Seq[*SpecFuture] {
	return func(yield func(*SpecFuture) bool) {
		for _, number := range slices.Sorted(maps.Keys(p.byNumber)) {
			for _, f := range p.byNumber[number].futures {
				if f != nil && !yield(f) {
					return
				}
			}
		}
	}
}
