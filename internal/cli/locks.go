package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// locksCommand is `locks`.
func (a *App) locksCommand() *cobra.Command {
	var format format
	var graph, dot bool
	cmd := &cobra.Command{
		Use:   "locks [NAME]",
		Short: "List locks, who has them and who waits; or one of them, or who waits for whom",
		Long: "List the locks that somebody has or waits for; or, of one, everybody who has it and who waits for it, in order.\n\n" +
			"With --graph list who waits for whom, for locks and semaphores: a ring of waits that do not end by themselves is a\n" +
			"deadlock, which is refused to the last one of it. --dot writes the graph for Graphviz.",
		Example: "  " + a.Name + " locks\n  " + a.Name + " locks --graph --dot | dot -Tsvg > locks.svg",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case dot && !graph:
				return Usage("--dot: the form of --graph")
			case dot && cmd.Flags().Changed("output"):
				return Usage("--dot and --output: one of them at most")
			case graph && len(args) > 0:
				return Usage("--graph: of all locks, without a name")
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				switch {
				case graph:
					return a.showGraph(ctx, c, format, dot)
				case len(args) == 0:
					return lockListing(time.Now()).print(a, format, allLocks(ctx, c))
				}
				return a.showLock(ctx, c, args[0], format)
			})
		},
	}
	formatFlag(cmd, &format)
	cmd.Flags().BoolVar(&graph, "graph", false, "who waits for whom")
	cmd.Flags().BoolVar(&dot, "dot", false, "the graph in the language of Graphviz")
	return cmd
}

// lockListing is how locks are listed.
func lockListing(now time.Time) *listing[*weftv1.Lock] {
	return &listing[*weftv1.Lock]{
		head: []string{"LOCK", "MODE", "HOLDERS", "SINCE", "TOKEN", "WAIT", "PUBLISHED"},
		row: func(l *weftv1.Lock) []string {
			row := []string{l.GetName(), "free", "", "", "", strconv.Itoa(int(l.GetWaitersCount())), ""}
			if all := l.GetHolders(); len(all) > 0 {
				first := all[0]
				row[1], row[2] = modeWord(first.GetMode()), holdersText(all, l.GetHoldersCount())
				row[3], row[4] = age(first.GetSince(), now), strconv.FormatUint(first.GetToken(), 10)
				row[6] = shorten(first.GetPublished())
			}
			return row
		},
		name: (*weftv1.Lock).GetName,
	}
}

// holdersText is who has something, in a cell.
func holdersText(all []*weftv1.LockHolder, count uint32) string {
	switch {
	case count == 0:
		return ""
	case count == 1:
		return shorten(all[0].GetName())
	}
	return fmt.Sprintf("%s and %d more", shorten(all[0].GetName()), count-1)
}

// modeWord is a mode for people.
func modeWord(m weftv1.LockMode) string {
	if m == weftv1.LockMode_LOCK_MODE_SHARED {
		return "shared"
	}
	return "exclusive"
}

// showLock prints everybody at a lock.
func (a *App) showLock(ctx context.Context, c *client.Client, name string, format format) error {
	if err := checkObject(name); err != nil {
		return err
	}
	l, err := c.Lock(name).State(ctx)
	if err != nil {
		return err
	}
	if format != formatTable {
		return lockListing(time.Now()).print(a, format, one(l))
	}
	now := time.Now()
	t := newTable(a.Out, "WHO", "IS", "MODE", "SINCE", "TOKEN", "DEPTH", "NOTE")
	for _, h := range l.GetHolders() {
		t.row(shorten(h.GetName()), "holder", modeWord(h.GetMode()), age(h.GetSince(), now), strconv.FormatUint(h.GetToken(), 10),
			strconv.Itoa(int(h.GetDepth())), shorten(h.GetPublished()))
	}
	for _, w := range l.GetWaiters() {
		note := ""
		if w.GetCondition() != "" {
			note = "back from condition " + w.GetCondition()
		}
		t.row(shorten(w.GetName()), "waiter", modeWord(w.GetMode()), age(w.GetSince(), now), "", "", note)
	}
	return t.end()
}

// showGraph prints who waits for whom.
func (a *App) showGraph(ctx context.Context, c *client.Client, format format, dot bool) error {
	m, err := ask(ctx, c, locksClient.GetWaitGraph, &weftv1.GetWaitGraphRequest{Namespace: c.Namespace()})
	if err != nil {
		return err
	}
	if m.GetTruncated() {
		a.Say("the graph has more than these %d edges", len(m.GetEdges()))
	}
	if dot {
		_, err := fmt.Fprint(a.Out, dotGraph(m.GetEdges()))
		return err
	}
	return edgeListing().print(a, format, func(yield func(*weftv1.WaitEdge, error) bool) {
		for _, e := range m.GetEdges() {
			if !yield(e, nil) {
				return
			}
		}
	})
}

// edgeListing is how the graph is listed.
func edgeListing() *listing[*weftv1.WaitEdge] {
	return &listing[*weftv1.WaitEdge]{
		head: []string{"WHO", "WAITS FOR", "OF", "LIMIT"},
		row: func(e *weftv1.WaitEdge) []string {
			return []string{shorten(e.GetWaiter()), e.GetObject(), shorten(e.GetHolder()), limitWord(e)}
		},
		name: (*weftv1.WaitEdge).GetWaiter,
	}
}

// limitWord tells whether a wait ends by itself.
func limitWord(e *weftv1.WaitEdge) string {
	if e.GetTimed() {
		return "timed"
	}
	return "none"
}

// dotGraph is the graph in Graphviz's language. A wait that ends by itself is dashed.
func dotGraph(edges []*weftv1.WaitEdge) string {
	var b strings.Builder
	b.WriteString("digraph waits {\n")
	lines := make([]string, 0, len(edges))
	for _, e := range edges {
		style := ""
		if e.GetTimed() {
			style = ", style=dashed"
		}
		lines = append(lines, fmt.Sprintf("  %s -> %s [label=%s%s];\n", dotText(e.GetWaiter()), dotText(e.GetHolder()), dotText(e.GetObject()), style))
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(slices.Compact(lines), ""))
	b.WriteString("}\n")
	return b.String()
}

// dotText quotes a text: a backslash means something there of its own.
func dotText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(text) + `"`
}
