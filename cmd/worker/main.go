// Command worker is `weft worker` as a program of its own.
package main

import (
	"os"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
)

func main() {
	app := cli.NewApp("worker")
	root := workercmd.New(app)
	app.MakeRoot(root)
	os.Exit(app.Main(root, os.Args[1:]))
}
