package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// eventsCommand is `events`.
func (a *App) eventsCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List events that were set",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return eventListing().print(a, format, allEvents(ctx, c))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// eventListing is how events are listed.
func eventListing() *listing[*weftv1.Event] {
	return &listing[*weftv1.Event]{
		head: []string{"EVENT", "STATE", "GENERATION"},
		row: func(e *weftv1.Event) []string {
			return []string{e.GetName(), eventWord(e), strconv.FormatUint(e.GetGeneration(), 10)}
		},
		name: (*weftv1.Event).GetName,
	}
}

func eventWord(e *weftv1.Event) string {
	if e.GetSet() {
		return "set"
	}
	return "clear"
}

// eventCommand is `event`.
func (a *App) eventCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "event",
		Short: "Set a flag that others wait for",
		Long: "Set a flag that others wait for. It stays set, for those who come later, until it is cleared. Events need no\n" +
			"declaration: one that was never set is clear.",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.eventGetCommand(), a.eventWaitCommand(),
		a.oneEvent("set", "Set an event, which wakes all who wait for it", "is set", func(ctx context.Context, c *client.Client, name string) error {
			_, err := ask(ctx, c, locksClient.SetEvent, &weftv1.SetEventRequest{Namespace: c.Namespace(), Name: name, RequestId: rand.Text()})
			return err
		}),
		a.oneEvent("clear", "Clear an event", "is clear", func(ctx context.Context, c *client.Client, name string) error {
			_, err := ask(ctx, c, locksClient.ClearEvent, &weftv1.ClearEventRequest{Namespace: c.Namespace(), Name: name, RequestId: rand.Text()})
			return err
		}),
		a.oneEvent("delete", "Forget an event: it is as one that was never set", "is deleted", func(ctx context.Context, c *client.Client, name string) error {
			_, err := ask(ctx, c, locksClient.DeleteEvent, &weftv1.DeleteEventRequest{Namespace: c.Namespace(), Name: name})
			return err
		}))
	return cmd
}

// oneEvent does something to an event.
func (a *App) oneEvent(verb, short, done string, do func(context.Context, *client.Client, string) error) *cobra.Command {
	return a.oneObject(verb, short, func(ctx context.Context, c *client.Client, name string) error {
		if err := do(ctx, c, name); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.Out, name, done)
		return err
	})
}

// oneObject is a command about what has that name.
func (a *App) oneObject(verb, short string, do func(context.Context, *client.Client, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkObject(args[0]); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error { return do(ctx, c, args[0]) })
		},
	}
}

func (a *App) eventGetCommand() *cobra.Command {
	var format format
	cmd := a.oneObject("get", "Tell whether an event is set", func(ctx context.Context, c *client.Client, name string) error {
		m, err := ask(ctx, c, locksClient.WaitEvent, &weftv1.WaitEventRequest{Namespace: c.Namespace(), Name: name, Wait: noWait()})
		if err != nil {
			return err
		}
		if format != formatTable {
			return eventListing().print(a, format, one(m.GetEvent()))
		}
		_, err = fmt.Fprintln(a.Out, eventWord(m.GetEvent()))
		return err
	})
	formatFlag(cmd, &format)
	return cmd
}

func (a *App) eventWaitCommand() *cobra.Command {
	var timeout timeoutFlag
	cmd := &cobra.Command{
		Use:     "wait NAME",
		Short:   "Wait until an event is set",
		Long:    "Wait until an event is set. One that is cleared again at once has woken all who waited.",
		Example: "  " + a.Name + " event wait ready --timeout 1m && ./start.sh",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(checkObject(args[0]), timeout.check()); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				e := c.Event(args[0])
				if !timeout.set() {
					return e.Wait(ctx)
				}
				if set, err := e.WaitWithin(ctx, timeout.d); err != nil || set {
					return err
				}
				return timeoutEnd("event %s is not set after %v", args[0], timeout.d)
			})
		},
	}
	timeout.add(cmd)
	return cmd
}
