// Package jetstream keeps journals in an embedded NATS JetStream server: one file stream per shard, on
// this machine's disk, without a network listener. It is the only package that imports NATS.
//
// A [Store] is the server; [Store.Stream] gives a shard's stream, a [journal.Stream]. By default each
// acknowledged append has been fsynced. After an error that is journal.ErrStoreFailed the server takes
// no more appends: close the store and open it again.
//
// JetStream repairs what it finds damaged: it cuts a block of entries at the first bad one and goes on
// with what is left, and it serves a stream without the entries that it cannot read. A journal must not
// lose entries without a word. So Open reads every block file itself before the server may touch it, and
// refuses a damaged one; a scan counts sequences, and calls a gap an error.
package jetstream
