package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weftq/weft/pkg/client"
)

// A lock, for programs on many machines. The function's context ends when the lock is lost.
func ExampleLock_Do() {
	addr, stop := start()
	defer stop()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	stock := c.Lock("stock")
	err = stock.Do(context.Background(), func(ctx context.Context) error {
		token, err := stock.Token(ctx) // for the resource that it guards
		if err != nil {
			return err
		}
		fmt.Println("the token lives:", stock.Check(ctx, token) == nil)
		_, err = stock.Acquire(ctx) // once more, by the same holder
		fmt.Println("deadlock:", errors.Is(err, client.ErrDeadlock))
		return nil
	})
	fmt.Println(err)
	// Output:
	// the token lives: true
	// deadlock: true
	// <nil>
}

// A producer and a consumer.
func ExampleCondition() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	full := client.NewValue[string](c, "shelf")
	filled := c.Condition("filled", full.Lock())
	var consumer sync.WaitGroup
	consumer.Go(func() { // on another machine perhaps
		err := filled.Lock().Do(ctx, func(ctx context.Context) error {
			err := filled.WaitFor(ctx, func(ctx context.Context) (bool, error) {
				what, _, err := full.Get(ctx)
				return what != "", err
			})
			if err != nil {
				return err
			}
			what, _, err := full.Get(ctx)
			fmt.Println("got", what)
			return err
		})
		if err != nil {
			panic(err)
		}
	})
	err = filled.Lock().Do(ctx, func(ctx context.Context) error {
		if _, err := full.Set(ctx, "tea", client.Guarded(full.Lock())); err != nil {
			return err
		}
		return filled.NotifyAll(ctx)
	})
	if err != nil {
		panic(err)
	}
	consumer.Wait()
	// Output: got tea
}

// At most two at a time.
func ExampleSemaphore() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	machines := c.Semaphore("machines", 2)
	err = machines.Do(ctx, 2, func(ctx context.Context) error {
		_, ok, err := machines.TryAcquire(client.NewHolder(ctx, "another"), 1)
		fmt.Println("a third one:", ok)
		return err
	})
	fmt.Println(err)
	// Output:
	// a third one: false
	// <nil>
}

// Those who wait go on together.
func ExampleSharedEvent() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	ready := c.Event("ready")
	var waiter sync.WaitGroup
	waiter.Go(func() {
		if err := ready.Wait(ctx); err != nil {
			panic(err)
		}
		fmt.Println("go")
	})
	if err := ready.Set(ctx); err != nil {
		panic(err)
	}
	waiter.Wait()
	// Output: go
}

// Two parties meet, and the last one to come acts for both.
func ExampleBarrier() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	meeting := c.Barrier("meeting", 2, client.Action(func(context.Context) error {
		fmt.Println("all are here")
		return nil
	}))
	var parties sync.WaitGroup
	for range 2 {
		parties.Go(func() {
			if _, err := meeting.Wait(ctx); err != nil {
				panic(err)
			}
		})
	}
	parties.Wait()
	// Output: all are here
}

// A latch: a value that counts down, and one who waits for it.
func ExampleValue() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	left := client.NewValue[int64](c, "left")
	if _, err := left.Set(ctx, 3); err != nil {
		panic(err)
	}
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			if _, err := client.Add(ctx, left, -1); err != nil {
				panic(err)
			}
		})
	}
	n, err := left.WaitUntil(ctx, client.AtMost[int64](0))
	fmt.Println(n, err)
	workers.Wait()
	// Output: 0 <nil>
}

// One leads, and the others know who.
func ExampleElection() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	primary := c.Election("primary")
	leading, err := primary.Campaign(ctx, "10.0.0.7:5432")
	if err != nil {
		panic(err)
	}
	for leader, err := range primary.Observe(ctx) {
		if err != nil {
			panic(err)
		}
		if leader.Token == 0 {
			break
		}
		fmt.Println(leader.Published)
		if err := primary.Resign(leading); err != nil {
			panic(err)
		}
	}
	fmt.Println("nobody leads")
	// Output:
	// 10.0.0.7:5432
	// nobody leads
}
