// Package datadir guards a broker's data directory: one process at a time, and never a directory that is
// something else. It knows nothing of what the broker keeps inside.
package datadir
