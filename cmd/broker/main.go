// Command broker is `weft broker` as a program of its own.
package main

import (
	"os"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/servercmd"
)

func main() {
	app := cli.NewApp("broker")
	root := servercmd.NewBroker(app)
	app.MakeRoot(root)
	os.Exit(app.Main(root, os.Args[1:]))
}
