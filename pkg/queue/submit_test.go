package queue

import (
	"reflect"
	"testing"
)

// What was asked for stays as it is: it may be asked for again.
func TestEnqueueLeavesTheTasksAlone(t *testing.T) {
	ask := func() []NewTask {
		tasks := newTasks(0, 3, 1, 10)
		tasks[1].AfterIndexes, tasks[2].AfterIndexes = []uint64{0}, []uint64{0, 1}
		return tasks
	}
	b := newBench(Config{})
	tasks := ask()
	if n, refused := b.enqueue(tasks...); n != 3 || len(refused) != 0 {
		t.Fatalf("%d accepted, refused %v", n, refused)
	}
	if !reflect.DeepEqual(tasks, ask()) {
		t.Errorf("they are %+v after that", tasks)
	}
}
