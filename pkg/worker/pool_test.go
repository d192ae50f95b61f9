package worker

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weftq/weft/pkg/task"
)

func attempts(n int) []*attempt {
	all := make([]*attempt, n)
	for i := range all {
		all[i] = &attempt{Attempt: task.Attempt{Token: uint64(i)}}
	}
	return all
}

func TestPoolRunsEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		ran := make(map[*attempt]int)
		p := newPool(func(a *attempt) {
			mu.Lock()
			defer mu.Unlock()
			ran[a]++
		})
		all := attempts(10_000)
		for i := 0; i < len(all); i += 100 {
			p.submit(all[i : i+100])
		}
		p.close()
		p.wait()
		for _, a := range all {
			if ran[a] != 1 {
				t.Fatalf("attempt %d ran %d times", a.Token, ran[a])
			}
		}
	})
}

// Handlers that wait hold up nobody, and there are no more goroutines than were needed at once.
func TestPoolRunsAsManyAsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 100
		var mu sync.Mutex
		running := 0
		leave := make(chan struct{})
		p := newPool(func(*attempt) {
			mu.Lock()
			running++
			mu.Unlock()
			<-leave
			mu.Lock()
			running--
			mu.Unlock()
		})
		before := runtime.NumGoroutine()
		for range 3 {
			p.submit(attempts(slots))
			synctest.Wait()
			if running != slots {
				t.Errorf("%d run", running)
			}
			if n := runtime.NumGoroutine() - before; n > slots+1 {
				t.Errorf("%d goroutines", n)
			}
			for range slots {
				leave <- struct{}{}
			}
			synctest.Wait()
		}
		p.close()
		p.wait()
	})
}

func TestPoolSurvivesGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran sync.WaitGroup
		ran.Add(100)
		p := newPool(func(*attempt) {
			defer ran.Done()
			runtime.Goexit()
		})
		p.submit(attempts(100))
		ran.Wait()
		p.close()
		p.wait()
	})
}
