// Package docs keeps the documents true: it writes docs/grpc.md and docs/errors.md from the .proto files,
// and its tests run every command of the README and hold its Go code against code that compiles.
package docs

//go:generate go run ./generate ../..
