// Package broker serves a shard over gRPC: it checks requests at the edge, turns them into commands and
// the shard's effects into responses. It holds no state of its own but the streams that are open.
package broker
