package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// publishedMax bounds what a leader publishes.
const publishedMax = 4096

// electCommand is `elect`.
func (a *App) electCommand() *cobra.Command {
	var f holdingFlags
	var publish string
	cmd := &cobra.Command{
		Use:   "elect NAME [flags] -- COMMAND ARG...",
		Short: "Run a command while this is the leader",
		Long: "Wait until this is the leader among all who stand for the election of that name, and run a command as long as it is.\n" +
			"An election is the lock of its name, with a text for those who look (" + a.Name + " leader).\n\n" + holdingNote + "\n" + exitCodes,
		Example: "  " + a.Name + " elect scheduler --publish 10.0.0.7:8080 -- ./scheduler\n  " + a.Name + " leader scheduler",
		Args:    nameCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, argv, err := splitCommand(cmd, args)
			if err != nil {
				return err
			}
			if len(publish) > publishedMax {
				return Usage("--publish: %d bytes, at most %d are possible", len(publish), publishedMax)
			}
			if err := errors.Join(checkText("--publish", publish), f.check()); err != nil {
				return err
			}
			return a.hold(cmd.Context(), &f, argv, func(c *client.Client) *holding {
				h := a.lockHolding(c, &f, name, false, false)
				h.what = "election " + name
				h.acquire = func(ctx context.Context) (context.Context, bool, error) {
					held, err := c.Election(name).Campaign(ctx, publish)
					return held, err == nil, err
				}
				h.look = func(context.Context) (obstacle, bool) { return obstacle{}, false } // to wait is the usual thing
				return h
			})
		},
	}
	f.add(cmd, "the leadership")
	cmd.Flags().StringVar(&publish, "publish", "", "a `text` for those who look, such as an address")
	return cmd
}

// leaderCommand is `leader`.
func (a *App) leaderCommand() *cobra.Command {
	var watch bool
	var format format
	cmd := &cobra.Command{
		Use:   "leader NAME",
		Short: "Tell who leads, and what the leader publishes",
		Long: "Tell who leads, and what the leader publishes; exit code 1 is that nobody leads. With --watch, now and after each change,\n" +
			"until it is interrupted.",
		Example: "  " + a.Name + " leader scheduler -o name",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkObject(args[0]); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				e := c.Election(args[0])
				if watch {
					return a.watchLeader(ctx, e, format)
				}
				l, ok, err := e.Leader(ctx)
				if err != nil {
					return err
				}
				if !ok {
					return no(fmt.Errorf("nobody leads %s", args[0]))
				}
				return a.printLeader(l, format)
			})
		},
	}
	cmd.Flags().VarP(&format, "output", "o", "`format`: table (published, name and token, with tabs), json, or name (published alone)")
	format = formatTable
	cmd.Flags().BoolVar(&watch, "watch", false, "go on with each change")
	return cmd
}

// watchLeader prints each leader.
func (a *App) watchLeader(ctx context.Context, e *client.Election, format format) error {
	for l, err := range e.Observe(ctx) {
		if err != nil {
			return err
		}
		if l.Token == 0 {
			a.Say("nobody leads %s", e.Name())
			continue
		}
		if err := a.printLeader(l, format); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// printLeader prints one.
func (a *App) printLeader(l client.Leader, format format) error {
	var err error
	switch format {
	case formatJSON:
		return a.printJSON(&weftv1.LockHolder{Name: l.Name, Published: l.Published, Token: l.Token})
	case formatName:
		_, err = fmt.Fprintln(a.Out, l.Published)
	default:
		_, err = fmt.Fprintf(a.Out, "%s\t%s\t%d\n", l.Published, l.Name, l.Token)
	}
	return err
}
