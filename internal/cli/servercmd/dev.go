package servercmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/pkg/client"
)

// newDev is `dev`.
func newDev(app *cli.App) *cobra.Command {
	var cfg broker.Config
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "A broker and a worker for playing, on this machine only",
		Long: "A broker and a worker for playing, on this machine only. The worker runs anything for everybody on\n" +
			"this machine. The data is in a temporary directory, and gone at the end.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := app.Interruptible(cmd.Context())
			defer cancel()
			i, err := startInstance(app, cfg)
			if err != nil {
				return listenAdvice(err)
			}
			warnOpen(app, i.addresses.GRPC)
			welcome(app, i.addresses)
			broken := make(chan error, 1)
			go func() { broken <- i.ended() }()
			select {
			case err := <-broken:
				return err
			case <-ctx.Done():
				i.stop()
				return <-broken
			}
		},
	}
	cmd.Flags().StringVar(&cfg.Listen, "listen", broker.DefaultListen, "gRPC `address`")
	cmd.Flags().StringVar(&cfg.HTTP, "http", broker.DefaultHTTP, "`address` of health checks, or off")
	return cmd
}

// welcome prints three lines to paste.
func welcome(app *cli.App, a broker.Addresses) {
	env := ""
	if a.GRPC != client.DefaultBroker {
		env = client.EnvBroker + "=" + a.GRPC + " "
	}
	fmt.Fprintf(app.Out, "A broker at %s and a worker that runs anything. Interrupt to end them. Try:\n\n"+
		"  %s%s run -- sh -c 'echo hello; exit 3'\n"+
		"  seq 20 | %s%s map --tag -- sh -c 'sleep 0.2; echo done'\n"+
		"  grpcurl -plaintext -d '{\"command\":{\"argv\":[\"date\"]}}' %s weft.v1.TaskService/SubmitTask\n\n",
		a.GRPC, env, app.Name, env, app.Name, a.GRPC)
}
