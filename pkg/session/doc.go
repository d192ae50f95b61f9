// Package session keeps track of who is alive: the pure core of Weft's sessions.
//
// A session is a lease on being there. Its owner renews it, on a stream or by a request, and what the
// owner holds is given up when it does not for the session's TTL, or closes it.
//
//	Open ──▶ alive ── Close, or TTL without Renew ──▶ ended
//
// That a session exists is durable; when it was last renewed is not. A new term therefore gives every
// session its whole TTL again from the moment when it is ready to serve ([Core.Ready]). Deadlines are in
// lease time, and expiry is a record that [Core.Expire] emits, never a thing that happens by itself.
package session
