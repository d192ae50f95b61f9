package servercmd

import (
	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
)

// Add adds everything that runs a broker or a worker. It comes before the client's commands are added,
// which take --local from it.
func Add(app *cli.App, root *cobra.Command) {
	app.Local = Local(app)
	root.AddGroup(&cobra.Group{ID: "serve", Title: "Serve:"})
	for _, c := range []*cobra.Command{NewBroker(app), workercmd.New(app), newDev(app), newDemo(app), newBench(app)} {
		c.GroupID = "serve"
		root.AddCommand(c)
	}
}
