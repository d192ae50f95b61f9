package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// permitsMax is the most permits of a semaphore.
const permitsMax = 1_000_000_000

// semFlags declare a semaphore.
type semFlags struct {
	permits int
	count   int
	free    bool
	bounded bool
}

func (f *semFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVarP(&f.permits, "permits", "p", 0, "how many there are, 0 to 1000000000: all who use it say the same `N`")
	flags.IntVarP(&f.count, "count", "c", 1, "how many to take, all at once, or to give back: `N`")
	bounded(flags, "permits", "0 to 1000000000")
	bounded(flags, "count", "1 to 1000000000")
	flags.BoolVar(&f.free, "free", false, "permits are nobody's: they do not come back by themselves, and anyone may release them")
	flags.BoolVar(&f.bounded, "bounded", false, "of a free one: never more than --permits")
}

// check refuses what cannot be.
func (f *semFlags) check(cmd *cobra.Command) error {
	switch {
	case !cmd.Flags().Changed("permits"):
		return Usage("--permits: how many are there?")
	case f.permits < 0 || f.permits > permitsMax:
		return Usage("--permits %d: 0 to %d are possible", f.permits, permitsMax)
	case f.count < 1 || f.count > permitsMax:
		return Usage("--count %d: 1 to %d are possible", f.count, permitsMax)
	case f.bounded && !f.free:
		return Usage("--bounded: of a --free semaphore; others never have more than --permits")
	case f.count > f.permits && (!f.free || f.bounded):
		return Usage("--count %d: more than --permits %d", f.count, f.permits)
	}
	return nil
}

// semaphore is the one that the flags declare.
func (f *semFlags) semaphore(c *client.Client, name string) *client.Semaphore {
	var opts []client.SemaphoreOption
	switch {
	case f.bounded:
		opts = append(opts, client.Bounded())
	case f.free:
		opts = append(opts, client.Free())
	}
	return c.Semaphore(name, f.permits, opts...)
}

// semCommand is `sem`.
func (a *App) semCommand() *cobra.Command {
	var s semFlags
	var f holdingFlags
	cmd := &cobra.Command{
		Use:   "sem NAME --permits N [flags] -- COMMAND ARG...",
		Short: "Run a command while it has permits of a semaphore",
		Long: "Wait for permits, in turn with others on any machine, and run a command while they are held: at most so many at a time.\n" +
			"A large request is not overtaken by small ones. A semaphore needs no declaration; all who use it at a time say the\n" +
			"same --permits.\n\n" + holdingNote + "\n" +
			"The permits of a --free semaphore are nobody's, as in Python's threading: they come back when the command ends or by\n" +
			"sem release, and do not come back when this program dies.\n\n" + exitCodes,
		Example: "  " + a.Name + " sem downloads --permits 4 -- curl -O https://example.org/large\n" +
			"  " + a.Name + " sem memory --permits 64 --count 16 --wait 10m -- ./build.sh",
		Args: nameCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, argv, err := splitCommand(cmd, args)
			if err != nil {
				return err
			}
			if err := cmp.Or(s.check(cmd), f.check()); err != nil {
				return err
			}
			return a.hold(cmd.Context(), &f, argv, func(c *client.Client) *holding { return semHolding(c, &s, &f, name) })
		},
	}
	s.add(cmd)
	f.addWaits(cmd)
	f.add(cmd, "the permits")
	cmd.AddCommand(a.semAcquireCommand(), a.semReleaseCommand())
	return cmd
}

// semHolding is permits to be held.
func semHolding(c *client.Client, s *semFlags, f *holdingFlags, name string) *holding {
	sem := s.semaphore(c, name)
	return &holding{
		what: "semaphore " + name,
		acquire: func(ctx context.Context) (context.Context, bool, error) {
			if d, limited := f.limit(); limited {
				return sem.AcquireWithin(ctx, s.count, d)
			}
			held, err := sem.Acquire(ctx, s.count)
			return held, err == nil, err
		},
		release: func(held context.Context) error { return sem.Release(held, s.count) },
		stays:   s.free,
		environ: sem.Environ,
		look:    func(ctx context.Context) (obstacle, bool) { return semObstacle(ctx, c, name), true },
	}
}

// semObstacle says who has the permits.
func semObstacle(ctx context.Context, c *client.Client, name string) obstacle {
	for s, err := range allSemaphores(ctx, c) {
		if err != nil {
			break
		}
		if s.GetName() == name {
			what := fmt.Sprintf("Semaphore %s has %d of %d permits left;", name, s.GetAvailable(), s.GetSpec().GetPermits())
			return heldObstacle(what, "has some", s.GetHolders(), s.GetHoldersCount(), s.GetWaitersCount())
		}
	}
	return obstacle{}
}

func (a *App) semAcquireCommand() *cobra.Command {
	var s semFlags
	var f holdingFlags
	cmd := &cobra.Command{
		Use:     "acquire NAME --permits N --free",
		Short:   "Take permits of a free semaphore, which stay taken",
		Example: "  " + a.Name + " sem acquire slots --permits 3 --free --wait 10s",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ttl = ttlDefault
			if err := cmp.Or(checkObject(args[0]), s.check(cmd), f.checkWaits(), s.onlyFree("acquire")); err != nil {
				return err
			}
			return a.withHolder(cmd, "sem acquire", func(ctx context.Context, c *client.Client) error {
				h := semHolding(c, &s, &f, args[0])
				h.flags = &f
				stop := a.noteWaiting(ctx, h.look, a.Say)
				_, ok, err := h.acquire(ctx)
				stop()
				if err == nil && !ok {
					return h.notFree()
				}
				return err
			})
		},
	}
	s.add(cmd)
	f.addWaits(cmd)
	return cmd
}

// onlyFree refuses what is for free semaphores.
func (f *semFlags) onlyFree(verb string) error {
	if f.free {
		return nil
	}
	return Usage("sem %s: of a --free semaphore; permits of others are held while a command runs: sem NAME --permits N -- COMMAND", verb)
}

func (a *App) semReleaseCommand() *cobra.Command {
	var s semFlags
	cmd := &cobra.Command{
		Use:   "release NAME --permits N --free",
		Short: "Give permits of a free semaphore back",
		Long: "Give permits of a free semaphore back, which anyone may do; also more than were taken, unless it is --bounded: then that is\n" +
			"refused with exit code 1.",
		Example: "  " + a.Name + " sem release slots --permits 3 --free",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(checkObject(args[0]), s.check(cmd), s.onlyFree("release")); err != nil {
				return err
			}
			return a.withHolder(cmd, "sem release", func(ctx context.Context, c *client.Client) error {
				return noOf(s.semaphore(c, args[0]).Release(ctx, s.count))
			})
		},
	}
	s.add(cmd)
	return cmd
}

// semsCommand is `sems`.
func (a *App) semsCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "sems",
		Short: "List semaphores that are in use",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return semListing().print(a, format, allSemaphores(ctx, c))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// semListing is how semaphores are listed.
func semListing() *listing[*weftv1.Semaphore] {
	return &listing[*weftv1.Semaphore]{
		head: []string{"SEMAPHORE", "SORT", "PERMITS", "LEFT", "HOLDERS", "WAIT"},
		row: func(s *weftv1.Semaphore) []string {
			return []string{
				s.GetName(), sortWord(s.GetSpec()), strconv.FormatInt(s.GetSpec().GetPermits(), 10),
				strconv.FormatInt(s.GetAvailable(), 10), holdersText(s.GetHolders(), s.GetHoldersCount()),
				strconv.Itoa(int(s.GetWaitersCount())),
			}
		},
		name: (*weftv1.Semaphore).GetName,
	}
}

func sortWord(s *weftv1.SemaphoreSpec) string {
	switch {
	case s.GetBounded():
		return "bounded"
	case s.GetFree():
		return "free"
	}
	return "held"
}
