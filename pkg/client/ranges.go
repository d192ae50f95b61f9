package client

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// indexRange is a range of indexes, both ends included.
type indexRange struct{ first, last uint64 }

// rangeSet is a set of indexes as sorted ranges that neither touch nor overlap. Indexes mostly come in
// order, so adding at the end is the fast path.
type rangeSet struct{ rs []indexRange }

// empty reports whether the set has no index.
func (s *rangeSet) empty() bool { return len(s.rs) == 0 }

// add puts one index into the set; doing so again changes nothing.
func (s *rangeSet) add(i uint64) { s.addRange(indexRange{i, i}) }

// addRange puts a range into the set.
func (s *rangeSet) addRange(r indexRange) {
	n := len(s.rs)
	if n == 0 || (r.first > s.rs[n-1].last && r.first-s.rs[n-1].last > 1) {
		s.rs = append(s.rs, r)
		return
	}
	if tail := &s.rs[n-1]; r.first >= tail.first {
		tail.last = max(tail.last, r.last)
		return
	}
	s.merge(r)
}

// merge puts a range somewhere before the end.
func (s *rangeSet) merge(r indexRange) {
	// lo is the first range that r touches or that lies behind it, hi the first one behind both.
	lo, _ := slices.BinarySearchFunc(s.rs, r.first, func(x indexRange, first uint64) int {
		if x.last < first && first-x.last > 1 {
			return -1
		}
		return 1
	})
	hi := lo
	for hi < len(s.rs) && (s.rs[hi].first <= r.last || s.rs[hi].first-r.last == 1) {
		r.first = min(r.first, s.rs[hi].first)
		r.last = max(r.last, s.rs[hi].last)
		hi++
	}
	s.rs = slices.Replace(s.rs, lo, hi, r)
}

// has reports whether an index is in the set.
func (s *rangeSet) has(i uint64) bool {
	_, found := slices.BinarySearchFunc(s.rs, i, func(x indexRange, i uint64) int {
		switch {
		case x.last < i:
			return -1
		case x.first > i:
			return 1
		default:
			return 0
		}
	})
	return found
}

// clear empties the set and keeps its memory.
func (s *rangeSet) clear() { s.rs = s.rs[:0] }

// proto returns the set as messages.
func (s *rangeSet) proto() []*weftv1.IndexRange {
	out := make([]*weftv1.IndexRange, len(s.rs))
	for i, r := range s.rs {
		out[i] = &weftv1.IndexRange{First: r.first, Last: r.last}
	}
	return out
}

// rangeSetFromProto reads messages in any order; a range that is upside down is ignored.
func rangeSetFromProto(ms []*weftv1.IndexRange) rangeSet {
	var s rangeSet
	for _, m := range ms {
		if m.GetFirst() <= m.GetLast() {
			s.addRange(indexRange{m.GetFirst(), m.GetLast()})
		}
	}
	return s
}

// appendWire appends the range as the field num of a message.
func (r indexRange) appendWire(b []byte, num protowire.Number) []byte {
	size := 0
	if r.first != 0 {
		size += 1 + protowire.SizeVarint(r.first)
	}
	if r.last != 0 {
		size += 1 + protowire.SizeVarint(r.last)
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	if r.first != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, r.first)
	}
	if r.last != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, r.last)
	}
	return b
}
