package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// valuesCommand is `values`.
func (a *App) valuesCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "values",
		Short: "List shared values",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return valueListing().print(a, format, allValues(ctx, c))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// valueListing is how values are listed.
func valueListing() *listing[*weftv1.Value] {
	return &listing[*weftv1.Value]{
		head: []string{"VALUE", "TYPE", "VERSION", "DATA"},
		row: func(v *weftv1.Value) []string {
			return []string{v.GetName(), string(typeOf(v.GetData())), strconv.FormatUint(v.GetVersion(), 10), cellText(v.GetData())}
		},
		name: (*weftv1.Value).GetName,
	}
}

// valueCommand is `value`.
func (a *App) valueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "value",
		Short: "Read and change a variable that programs share",
		Long: "Read and change a variable that programs share: a truth value, a whole number, a number, a text or bytes, of at most\n" +
			"64 KiB. It keeps its type until it is deleted, and has a version, which rises with each change. An argument is of the\n" +
			"type that the value has; of a new one, of what it looks like, or what --type says.\n\n" +
			"With --guard a change is refused unless the lock is held by the token: so whoever has lost the lock changes nothing.",
		Example: "  " + a.Name + " value set counter 0\n  " + a.Name + " value add counter 5\n" +
			"  " + a.Name + " lock stock -- " + a.Name + " value set tea 3 --guard stock",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.valueGetCommand(), a.valueSetCommand(), a.valueAddCommand(), a.valueCasCommand(), a.valueWaitCommand(),
		a.valueWatchCommand(), a.valueDeleteCommand())
	return cmd
}

// changeFlags are those of everything that changes a value.
type changeFlags struct {
	dtype  dataType
	guard  string
	format format
}

func (f *changeFlags) add(cmd *cobra.Command) {
	f.addGuard(cmd)
	cmd.Flags().Var(&f.dtype, "type", "the `type`: int64, double, bool, string or bytes (default that of the value, else what it looks like)")
	formatFlag(cmd, &f.format)
}

func (f *changeFlags) addGuard(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.guard, "guard", "", "only while this `LOCK`, or LOCK:TOKEN, is held; the token is else in $"+client.EnvFence)
}

// typeFor is the type of an argument for a value.
func (f *changeFlags) typeFor(ctx context.Context, c *client.Client, name string) (dataType, error) {
	if f.dtype != typeAny {
		return f.dtype, nil
	}
	m, err := ask(ctx, c, locksClient.GetValue, &weftv1.GetValueRequest{Namespace: c.Namespace(), Name: name})
	return typeOf(m.GetValue().GetData()), err
}

// printValue prints a value: text with an end of line, bytes as they are.
func (a *App) printValue(v *weftv1.Value, format format) error {
	if format != formatTable {
		return valueListing().print(a, format, one(v))
	}
	text := dataText(v.GetData())
	if typeOf(v.GetData()) != typeBytes {
		text += "\n"
	}
	_, err := fmt.Fprint(a.Out, text)
	return err
}

// notThere is a value that is not.
func notThere(name string) error { return no(fmt.Errorf("value %s is not there", name)) }

func (a *App) valueGetCommand() *cobra.Command {
	var format format
	cmd := a.oneObject("get", "Print a value; exit code 1 is one that is not there", func(ctx context.Context, c *client.Client, name string) error {
		m, err := ask(ctx, c, locksClient.GetValue, &weftv1.GetValueRequest{Namespace: c.Namespace(), Name: name})
		if err != nil {
			return err
		}
		if m.GetValue().GetVersion() == 0 {
			return notThere(name)
		}
		return a.printValue(m.GetValue(), format)
	})
	formatFlag(cmd, &format)
	return cmd
}

func (a *App) valueSetCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:   "set NAME DATA",
		Short: "Set a value, and print its new version",
		Long:  "Set a value, and print its new version. - is standard input, of at most 64 KiB. Before a negative number comes -- .",
		Example: "  " + a.Name + " value set motd 'maintenance at noon'\n  " + a.Name + " value set logo --type bytes - < logo.png\n" +
			"  " + a.Name + " value set offset -- -7",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.setValue(cmd, &f, args[0], nil, args[1]) },
	}
	f.add(cmd)
	return cmd
}

func (a *App) valueCasCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:   "cas NAME VERSION DATA",
		Short: "Set a value if it still has a version, 0 being not there: compare and set",
		Long: "Set a value if it still has that version, and print its new one; version 0 is a value that is not there. If somebody else\n" +
			"was faster the exit code is 1. The version is in: value get NAME -o json.",
		Example: "  " + a.Name + " value cas owner 0 $(hostname) && echo mine",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return Usage("VERSION %s: not a whole number from 0 on", shorten(args[1]))
			}
			return a.setValue(cmd, &f, args[0], &version, args[2])
		},
	}
	f.add(cmd)
	return cmd
}

// setValue sets a value, if it has the version.
func (a *App) setValue(cmd *cobra.Command, f *changeFlags, name string, version *uint64, text string) error {
	guard, err := parseGuard(f.guard)
	if err := cmp.Or(checkObject(name), err); err != nil {
		return err
	}
	if text, err = a.readData(text); err != nil {
		return err
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		t, err := f.typeFor(ctx, c, name)
		if err != nil {
			return err
		}
		data, err := parseData("DATA", text, t)
		if err != nil {
			return err
		}
		m, err := ask(ctx, c, locksClient.SetValue, &weftv1.SetValueRequest{
			Namespace: c.Namespace(), Name: name, Data: data, IfVersion: version, Guard: guard, RequestId: rand.Text(),
		})
		if err != nil {
			return noOf(err)
		}
		v := m.GetValue()
		return a.made(f.format, strconv.FormatUint(v.GetVersion(), 10), &weftv1.Value{Name: name, Data: data, Version: v.GetVersion()})
	})
}

func (a *App) valueAddCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:     "add NAME DELTA",
		Short:   "Add to a number in one step, and print the sum",
		Long:    "Add to a number in one step, and print the sum. One that is not there counts as 0. Before a negative number comes -- .",
		Example: "  " + a.Name + " value add counter 5\n  " + a.Name + " value add counter -- -5",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			guard, err := parseGuard(f.guard)
			if err := cmp.Or(checkObject(args[0]), err); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				t, err := f.typeFor(ctx, c, args[0])
				if err != nil {
					return err
				}
				m := &weftv1.AddValueRequest{Namespace: c.Namespace(), Name: args[0], Guard: guard, RequestId: rand.Text()}
				if err := setDelta(m, args[1], t); err != nil {
					return err
				}
				sum, err := ask(ctx, c, locksClient.AddValue, m)
				if err != nil {
					return err
				}
				return a.printValue(sum.GetValue(), f.format)
			})
		},
	}
	f.add(cmd)
	return cmd
}

// setDelta reads how much to add.
func setDelta(m *weftv1.AddValueRequest, text string, t dataType) error {
	if t == typeAny {
		t = looksLike(text)
	}
	if t != typeInt64 && t != typeDouble {
		return Usage("DELTA %s: the value is of the type %s, and only int64 and double can be added to", shorten(text), t)
	}
	data, err := parseData("DELTA", text, t)
	if err != nil {
		return err
	}
	if t == typeInt64 {
		m.Delta = &weftv1.AddValueRequest_Int64Delta{Int64Delta: data.GetInt64Value()}
	} else {
		m.Delta = &weftv1.AddValueRequest_DoubleDelta{DoubleDelta: data.GetDoubleValue()}
	}
	return nil
}

func (a *App) valueDeleteCommand() *cobra.Command {
	var f changeFlags
	var version uint64
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Forget a value: it may have another type afterwards",
		Long:  "Forget a value: it may have another type afterwards. One that is not there is no error.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			guard, err := parseGuard(f.guard)
			if err := cmp.Or(checkObject(args[0]), err); err != nil {
				return err
			}
			m := &weftv1.DeleteValueRequest{Name: args[0], Guard: guard, RequestId: rand.Text()}
			if cmd.Flags().Changed("version") {
				m.IfVersion = &version
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				m.Namespace = c.Namespace()
				if _, err := ask(ctx, c, locksClient.DeleteValue, m); err != nil {
					return noOf(err)
				}
				_, err := fmt.Fprintln(a.Out, args[0], "is deleted")
				return err
			})
		},
	}
	f.addGuard(cmd)
	cmd.Flags().Uint64Var(&version, "version", 0, "only if it still has this `version`; else exit code 1")
	return cmd
}

func (a *App) valueWatchCommand() *cobra.Command {
	var format format
	cmd := a.oneObject("watch", "Print a value now and after each change, until it is interrupted", func(ctx context.Context, c *client.Client, name string) error {
		return a.watchValue(ctx, c, name, func(v *weftv1.Value) error {
			if v.GetVersion() == 0 && format == formatTable {
				a.Say("value %s is not there", name)
				return nil
			}
			return a.printValue(v, format)
		})
	})
	cmd.Long = "Print a value now and after each change, until it is interrupted. Changes that follow each other closely may be printed as one."
	formatFlag(cmd, &format)
	return cmd
}

// watchValue tells a value and its changes, over as many streams as it takes.
func (a *App) watchValue(ctx context.Context, c *client.Client, name string, told func(*weftv1.Value) error) error {
	w := &valueWatch{client: c, name: name, told: told}
	for {
		err := w.stream(ctx)
		switch {
		case w.failed != nil:
			return w.failed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !isAway(err):
			return sdkError(ctx, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// valueWatch is one `value watch`.
type valueWatch struct {
	client *client.Client
	name   string
	told   func(*weftv1.Value) error
	last   *weftv1.Value
	failed error // told
}

// stream follows one stream to its end.
func (w *valueWatch) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := &weftv1.WatchValueRequest{Namespace: w.client.Namespace(), Name: w.name}
	stream, err := weftv1.NewLockServiceClient(w.client.Conn()).WatchValue(ctx, request, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if w.last != nil && w.last.GetVersion() == m.GetValue().GetVersion() {
			continue // after a cut
		}
		w.last = m.GetValue()
		if w.failed = w.told(w.last); w.failed != nil {
			return w.failed
		}
	}
}
