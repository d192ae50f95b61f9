// Package e2e tests Weft as its users have it: real processes on loopback, with what happens to processes.
package e2e
