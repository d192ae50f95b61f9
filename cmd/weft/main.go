// Command weft is all of Weft in one program: broker, worker, client, and a demo of the three.
package main

import (
	"os"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/servercmd"
)

func main() {
	app := cli.NewApp("weft")
	root := app.Root("Threads, process pools, queues and futures, over the network")
	servercmd.Add(app, root)
	app.AddClient(root)
	os.Exit(app.Main(root, os.Args[1:]))
}
