// Package boottime is the clock that leases are counted by, which the SDKs share.
package boottime
