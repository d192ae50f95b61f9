package pure

import "time"

// Wall is a moment on the wall clock, in nanoseconds since 1970. It may jump. It decides about what
// people name: run_at, retention.
type Wall int64

// Add returns the moment d later.
func (w Wall) Add(d time.Duration) Wall { return w + Wall(d) }

// Lease is a moment of lease time, in nanoseconds since the term was ready. It never goes back, and it
// advances by at most half a second a pass of the loop, so that a broker which was stopped for a minute
// expires nobody. It decides about sessions, timeouts and waits.
type Lease int64

// Add returns the moment d later.
func (l Lease) Add(d time.Duration) Lease { return l + Lease(d) }

// Sink takes a step's records as they are emitted. It must be done with a record when it returns: cores
// use the same memory again.
type Sink interface {
	// Record returns how many bytes the record takes in the entry.
	Record(rec any) int
}

// Step is the decision of one command. It brings everything that is not in the state: the time, the
// counter, randomness and the sequence that the records will have; and it takes the effects.
type Step struct {
	Wall  Wall
	Lease Lease
	Seq   uint64 // of the journal entry that this step's records go into
	Sink  Sink

	Counter *uint64 // the shard's: ids, tokens and order keys come from it
	Seed    uint64  // of Random

	Effects []any // told after the entry is durable, in this order
	records int
	looked  int
	bytes   int
}

// Next returns the next value of the shard's counter.
func (s *Step) Next() uint64 {
	*s.Counter++
	return *s.Counter
}

// Random returns the next pseudo-random number of the step (splitmix64, Steele, Lea and Flood 2014).
func (s *Step) Random() uint64 {
	s.Seed += 0x9e3779b97f4a7c15
	z := s.Seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Emit hands a record to the sink. The core applies it to its own state afterwards.
func (s *Step) Emit(rec any) {
	s.records++
	s.bytes += s.Sink.Record(rec)
}

// Look notes that something was looked at, and perhaps left as it is.
func (s *Step) Look() { s.looked++ }

const (
	lookedPerRecord = 16      // looks that take about as long as one record
	bytesPerRecord  = 2 << 10 // of large records, as much as to be worth one more
)

// Work is how much has been done so far, in records: bulk work is cut into steps by it, so that a thousand
// large records are not one entry, which would be larger than an entry may be.
func (s *Step) Work() int { return max(s.records, s.bytes/bytesPerRecord) + s.looked/lookedPerRecord }

// Tell adds an effect.
func (s *Step) Tell(effect any) { s.Effects = append(s.Effects, effect) }
