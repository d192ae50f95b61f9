package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// waitValueFlags are the flags of `value wait`.
type waitValueFlags struct {
	changeFlags
	timeout timeoutFlag
	newer   uint64
	wanted  map[string]*string // by flag
}

// wantedFlags say what a value is waited for, and newer-than.
var wantedFlags = []string{"equals", "at-least", "at-most"}

func (a *App) valueWaitCommand() *cobra.Command {
	f := waitValueFlags{wanted: make(map[string]*string)}
	cmd := &cobra.Command{
		Use:   "wait NAME --equals DATA|--at-least N|--at-most N|--newer-than VERSION",
		Short: "Wait until a value is as wanted, and print it: a latch, with --at-least or --at-most",
		Long: "Wait until a value is as wanted, and print it. One that is not there is waited for. With --at-least and --at-most a number\n" +
			"is a latch: value add counts, and wait lets go.",
		Example: "  " + a.Name + " value wait arrived --at-least 3 --timeout 5m\n  " + a.Name + " value wait config --newer-than 7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flag, err := f.chosen(cmd)
			if err := cmp.Or(checkObject(args[0]), f.timeout.check(), err); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return a.waitValue(ctx, c, args[0], flag, &f)
			})
		},
	}
	for flag, usage := range map[string]string{
		"equals": "until it is this `DATA`", "at-least": "until it is a number, this `N` or more", "at-most": "until it is a number, this `N` or less",
	} {
		f.wanted[flag] = cmd.Flags().String(flag, "", usage)
	}
	cmd.Flags().Uint64Var(&f.newer, "newer-than", 0, "until it has a version above this `VERSION`, or is deleted")
	f.timeout.add(cmd)
	cmd.Flags().Var(&f.dtype, "type", "the `type` of what is wanted (default that of the value, else what it looks like)")
	formatFlag(cmd, &f.format)
	return cmd
}

// chosen is the one flag that says what is waited for.
func (f *waitValueFlags) chosen(cmd *cobra.Command) (flag string, err error) {
	for _, known := range append([]string{"newer-than"}, wantedFlags...) {
		if !cmd.Flags().Changed(known) {
			continue
		}
		if flag != "" {
			return "", Usage("--%s and --%s: one of them at most", flag, known)
		}
		flag = known
	}
	if flag == "" {
		return "", Usage("value wait: for what? --equals, --at-least, --at-most or --newer-than says it")
	}
	return flag, nil
}

// until puts what is waited for into a request.
func (f *waitValueFlags) until(m *weftv1.WaitValueRequest, flag string, t dataType) error {
	if flag == "newer-than" {
		m.Until = &weftv1.WaitValueRequest_NewerThan{NewerThan: f.newer}
		return nil
	}
	data, err := parseData("--"+flag, *f.wanted[flag], t)
	if err != nil {
		return err
	}
	switch known := typeOf(data); {
	case flag == "equals":
		m.Until = &weftv1.WaitValueRequest_Equals{Equals: data}
	case known != typeInt64 && known != typeDouble:
		return Usage("--%s %s: not a number", flag, shorten(*f.wanted[flag]))
	case flag == "at-least":
		m.Until = &weftv1.WaitValueRequest_AtLeast{AtLeast: data}
	default:
		m.Until = &weftv1.WaitValueRequest_AtMost{AtMost: data}
	}
	return nil
}

// waitValue waits.
func (a *App) waitValue(ctx context.Context, c *client.Client, name, flag string, f *waitValueFlags) error {
	end := time.Now().Add(f.timeout.d)
	m := &weftv1.WaitValueRequest{Namespace: c.Namespace(), Name: name}
	t, err := f.typeFor(ctx, c, name)
	if err != nil {
		return err
	}
	if err := f.until(m, flag, t); err != nil {
		return err
	}
	answer, err := ask(ctx, c, func(
		locks locksClient, ctx context.Context, m *weftv1.WaitValueRequest, opts ...grpc.CallOption,
	) (*weftv1.WaitValueResponse, error) {
		if f.timeout.set() {
			m.Wait = durationpb.New(max(time.Until(end), 0))
		}
		return locks.WaitValue(ctx, m, opts...)
	}, m)
	if err != nil {
		return err
	}
	if !answer.GetReached() {
		return timeoutEnd("value %s is not as wanted after %v", name, f.timeout.d)
	}
	return a.printValue(answer.GetValue(), f.format)
}
