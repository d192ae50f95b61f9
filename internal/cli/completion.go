package cli

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Bounds of what the broker is asked for while a person waits for the tab key.
const (
	completeWithin = time.Second
	completeMax    = 50
)

// recent are the spans in which tasks are looked for until there are enough: lists begin with the oldest.
var recent = []time.Duration{time.Minute, time.Hour, 0} // 0 is without limit

// proposal is a word that may be meant, and what it is.
type proposal struct{ word, what string }

// proposer asks the broker for words.
type proposer func(context.Context, *client.Client) ([]proposal, error)

// source has the words for a command.
type source func(*cobra.Command) []proposal

// completions has every command of a program complete its arguments and its flags.
func (a *App) completions(root *cobra.Command) {
	for _, c := range root.Commands() {
		a.completions(c)
	}
	_, name, _ := strings.Cut(root.CommandPath(), " ")
	if propose, ok := argumentProposers[name]; ok {
		root.ValidArgsFunction = complete(a.ask(propose.from), propose.most)
	} else if propose, ok := nameProposers[name]; ok {
		root.ValidArgsFunction = completeName(a.ask(propose))
	} else if root.ValidArgsFunction == nil && !slices.Contains(commandLines, name) {
		root.ValidArgsFunction = cobra.NoFileCompletions
	}
	flags := func(f *pflag.Flag) {
		completion, ok := a.flagCompletion(f.Name)
		if _, has := root.GetFlagCompletionFunc(f.Name); ok && !has {
			_ = root.RegisterFlagCompletionFunc(f.Name, completion) // the flag is there, and has none
		}
	}
	root.LocalFlags().VisitAll(flags)
}

// commandLines take a command, or files.
var commandLines = []string{"run", "map", "submit", "schedule create", "schedule update", "demo"}

// argumentProposers are those of commands' arguments, and how many of them there are; 0 is any number.
var argumentProposers = map[string]struct {
	from proposer
	most int
}{
	"wait":   {both(proposeTasks(), proposeCalls), 0},
	"watch":  {both(proposeTasks(), proposeCalls), 1},
	"cancel": {both(proposeTasks(unfinishedStates...), proposeCalls), 0},
	"retry":  {proposeTasks(endedBadly...), 0},
	"why":    {proposeTasks(), 1},

	"task show":       {proposeTasks(), 1},
	"task done":       {proposeTasks(heldStates...), 1},
	"task fail":       {proposeTasks(heldStates...), 1},
	"task release":    {proposeTasks(heldStates...), 1},
	"task renew":      {proposeTasks(heldStates...), 1},
	"task progress":   {proposeTasks(heldStates...), 1},
	"task checkpoint": {proposeTasks(heldStates...), 1},

	"queue show":   {proposeQueues, 1},
	"queue update": {proposeQueues, 1},
	"queue put":    {proposeQueues, 1},
	"queue get":    {proposeQueues, 1},
	"queue peek":   {proposeQueues, 1},
	"queue join":   {proposeQueues, 1},
	"queue purge":  {proposeQueues, 1},
	"queue close":  {proposeQueues, 1},
	"queue reopen": {proposeQueues, 1},
	"queue pause":  {proposeQueues, 1},
	"queue resume": {proposeQueues, 1},
	"queue delete": {proposeQueues, 1},

	"schedule show":   {proposeSchedules, 1},
	"schedule update": {proposeSchedules, 1},
	"schedule next":   {proposeSchedules, 1},
	"schedule run":    {proposeSchedules, 1},
	"schedule pause":  {proposeSchedules, 1},
	"schedule resume": {proposeSchedules, 1},
	"schedule delete": {proposeSchedules, 1},

	"locks":         {proposeLocks, 1},
	"cond wait":     {proposeLocks, 1}, // a condition has the name of its lock, unless it is told otherwise
	"cond notify":   {proposeLocks, 1},
	"leader":        {proposeLocks, 1},
	"sem acquire":   {proposeSemaphores, 1},
	"sem release":   {proposeSemaphores, 1},
	"event get":     {proposeEvents, 1},
	"event set":     {proposeEvents, 1},
	"event clear":   {proposeEvents, 1},
	"event wait":    {proposeEvents, 1},
	"event delete":  {proposeEvents, 1},
	"barrier wait":  {proposeBarriers, 1},
	"barrier abort": {proposeBarriers, 1},
	"barrier reset": {proposeBarriers, 1},
	"value get":     {proposeValues, 1},
	"value set":     {proposeValues, 1},
	"value add":     {proposeValues, 1},
	"value cas":     {proposeValues, 1},
	"value wait":    {proposeValues, 1},
	"value watch":   {proposeValues, 1},
	"value delete":  {proposeValues, 1},
}

// nameProposers are those of commands whose name is followed by a command.
var nameProposers = map[string]proposer{"lock": proposeLocks, "elect": proposeLocks, "sem": proposeSemaphores}

// States of tasks that commands are about.
var (
	heldStates       = []weftv1.TaskState{weftv1.TaskState_TASK_STATE_RUNNING, weftv1.TaskState_TASK_STATE_CANCELLING}
	unfinishedStates = append(slices.Clone(waitingStates), heldStates...)
	endedBadly       = []weftv1.TaskState{
		weftv1.TaskState_TASK_STATE_FAILED, weftv1.TaskState_TASK_STATE_CANCELLED, weftv1.TaskState_TASK_STATE_EXPIRED,
	}
)

// flagCompletion is how a flag is completed, which is called the same in every command.
func (a *App) flagCompletion(name string) (cobra.CompletionFunc, bool) {
	switch name {
	case "queue", "queues":
		return complete(a.ask(proposeQueues), 0), true
	case "call":
		return complete(a.ask(proposeCalls), 0), true
	case "after":
		return completeList(a.ask(proposeTasks())), true
	case "task":
		return complete(a.ask(proposeTasks(heldStates...)), 0), true
	case "lock", "guard":
		return complete(a.ask(proposeLocks), 0), true
	case "type":
		return cobra.FixedCompletions(dataTypes, cobra.ShellCompDirectiveNoFileComp), true
	case "state":
		return completeList(fixed(stateWords())), true
	}
	list, ok := map[string][]string{
		"output":     {string(formatTable), string(formatJSON), string(formatName)},
		"order":      {"priority", "fifo", "lifo"},
		"catch-up":   {"skip", "latest", "all"},
		"overlap":    {"allow", "skip"},
		"durability": {"always", "interval"},
	}[name]
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp), ok
}

// fixed are words that need no broker.
func fixed(list []string) source {
	return func(*cobra.Command) (out []proposal) {
		for _, word := range list {
			out = append(out, proposal{word: word})
		}
		return out
	}
}

// complete proposes words for an argument, as long as there are fewer than most, 0 being without limit.
func complete(from source, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, p := range from(cmd) {
			if strings.HasPrefix(p.word, begun) && !slices.Contains(args, p.word) {
				out = append(out, cobra.CompletionWithDesc(p.word, p.what))
			}
		}
		return out[:min(len(out), completeMax)], cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeName is complete for a name; behind it is a command, which the shell completes.
func completeName(from source) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return complete(from, 1)(cmd, args, begun)
	}
}

// completeList is complete for the last word of a list with commas.
func completeList(from source) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		head := begun[:strings.LastIndexByte(begun, ',')+1]
		out, directive := complete(from, 0)(cmd, strings.Split(head, ","), begun[len(head):])
		for i := range out {
			out[i] = head + out[i]
		}
		return out, directive
	}
}

// ask asks the broker, for a short while. Without one that answers in time there are no words, and no error: the line is
// not typed to its end.
func (a *App) ask(propose proposer) source {
	return func(cmd *cobra.Command) []proposal {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		addr, err := a.BrokerAddr()
		if err != nil {
			return nil
		}
		c, err := client.Dial(addr, client.WithNamespace(a.namespace))
		if err != nil {
			return nil
		}
		defer func() { _ = c.Close() }()
		if c.Ping(ctx) != nil {
			return nil
		}
		list, _ := propose(ctx, c) // what has come is of use even if more could not
		return list
	}
}

// both proposes the words of two.
func both(one, other proposer) proposer {
	return func(ctx context.Context, c *client.Client) ([]proposal, error) {
		out, err := one(ctx, c)
		if err != nil {
			return out, err
		}
		more, err := other(ctx, c)
		out = out[:min(len(out), completeMax-min(len(more), completeMax/2))] // so that there is room for both
		return append(out, more...), err
	}
}

func proposeQueues(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(c.Queues(ctx), func(q *weftv1.Queue) proposal { return proposal{q.GetName(), queueState(q)} })
}

func proposeSchedules(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(c.Schedules(ctx, false), func(s *weftv1.Schedule) proposal { return proposal{s.GetName(), s.GetCron()} })
}

func proposeLocks(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(allLocks(ctx, c), func(l *weftv1.Lock) proposal {
		return proposal{l.GetName(), holdersText(l.GetHolders(), l.GetHoldersCount())}
	})
}

func proposeSemaphores(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(allSemaphores(ctx, c), func(s *weftv1.Semaphore) proposal {
		return proposal{s.GetName(), fmt.Sprintf("%d of %d left", s.GetAvailable(), s.GetSpec().GetPermits())}
	})
}

func proposeEvents(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(allEvents(ctx, c), func(e *weftv1.Event) proposal { return proposal{e.GetName(), eventWord(e)} })
}

func proposeBarriers(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(allBarriers(ctx, c), func(b *weftv1.Barrier) proposal { return proposal{b.GetName(), barrierWord(b)} })
}

func proposeValues(ctx context.Context, c *client.Client) ([]proposal, error) {
	return collect(allValues(ctx, c), func(v *weftv1.Value) proposal { return proposal{v.GetName(), cellText(v.GetData())} })
}

// collect makes proposals of all that there is.
func collect[T any](all iter.Seq2[T, error], of func(T) proposal) (out []proposal, err error) {
	for one, err := range all {
		if err != nil {
			return out, err
		}
		out = append(out, of(one))
	}
	return out, nil
}

// proposeTasks proposes tasks in some states, or in any, the latest first.
func proposeTasks(states ...weftv1.TaskState) proposer {
	return func(ctx context.Context, c *client.Client) ([]proposal, error) {
		tasks, err := latest(ctx, c, states)
		var out []proposal
		for _, t := range tasks {
			what := stateWord(t.GetState()) + " " + orCommand(t.GetSpec().GetKind())
			if argv := t.GetSpec().GetCommand().GetArgv(); len(argv) > 0 {
				what = stateWord(t.GetState()) + " " + shorten(quoteArgs(argv))
			}
			out = append(out, proposal{t.GetId(), what})
		}
		return out, err
	}
}

// proposeCalls proposes the calls of the latest tasks.
func proposeCalls(ctx context.Context, c *client.Client) ([]proposal, error) {
	tasks, err := latest(ctx, c, nil)
	var out []proposal
	for _, t := range tasks {
		p := proposal{t.GetCallId(), "call"}
		if p.word != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, err
}

// latest are the latest tasks in some states, the last one first.
func latest(ctx context.Context, c *client.Client, states []weftv1.TaskState) (out []*weftv1.Task, err error) {
	for _, span := range recent {
		filter := client.Filter{States: states}
		if span != 0 {
			filter.Since = time.Now().Add(-span)
		}
		var found []*weftv1.Task
		for t, listErr := range c.List(ctx, filter) {
			if err = listErr; err != nil {
				break
			}
			if found = append(found, t); len(found) == 2*completeMax {
				found = slices.Delete(found, 0, completeMax)
			}
		}
		if len(found) > completeMax {
			found = found[len(found)-completeMax:]
		}
		slices.Reverse(found)
		if len(found) >= len(out) { // a list that was broken off has the oldest
			out = found
		}
		if err != nil || len(out) == completeMax {
			break
		}
	}
	return out, err
}
