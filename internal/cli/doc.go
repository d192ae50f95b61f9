// Package cli has Weft's commands. Those here need a client only; what runs a broker or a worker is in
// packages of its own below, so that cmd/client links neither.
package cli
