// Package journal is a shard's memory: a totally ordered log of entries that outlives the broker.
//
// A [Stream] is what a store has to offer: a conditional append, a scan and a purge. The stores are in
// packages of their own (jetstream, memory), and journaltest is the suite that each of them passes.
//
// A [Term] is one broker's leadership of a stream. It begins by appending a fence: an entry whose own
// sequence is the term's epoch. From then on the term appends one entry at a time, each on the condition
// that the stream's last sequence is the one that it knows, and stops for ever at the first append that
// is not acknowledged. That is why one fence is enough: a deposed writer has at most one append under
// way, its condition names a sequence that the fence has taken, and it never tries another. (A writer
// that pipelines is not fenced by that condition: its later entries match positions that the new term
// has not reached yet.)
//
// An entry is a frame that describes itself: format version, type, epoch, the shard's counter and a
// CRC-32C over all of it. A frame that does not hold what it says stops the shard with a [CorruptError];
// it is never skipped.
package journal
