// Command client has the client's commands of weft, and links no server.
package main

import (
	"os"

	"github.com/weftq/weft/internal/cli"
)

func main() {
	app := cli.NewApp("client")
	root := app.Root("Submit work to a Weft broker and look after it")
	app.AddClient(root)
	os.Exit(app.Main(root, os.Args[1:]))
}
