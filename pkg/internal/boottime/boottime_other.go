//go:build !linux

package boottime

// notice notes nothing: here Go's clock is all there is.
func notice() {}
