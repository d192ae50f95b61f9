package cli

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// It looks at growing distances, says each thing once, and ends with what waits.
func TestNoteWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		finds := []string{"", "nobody", "nobody", "busy", "nobody", "", "end"}
		var looked []int
		look := func(context.Context) (obstacle, bool) {
			looked = append(looked, int(time.Since(begun).Seconds()))
			what := finds[len(looked)-1]
			return obstacle{what, fmt.Sprint(what, " ", len(looked))}, what != "end"
		}
		var said []string
		say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		stop := (&App{}).noteWaiting(t.Context(), look, say)
		time.Sleep(time.Hour)
		stop()
		if want := []int{1, 3, 7, 15, 31, 61, 91}; !slices.Equal(looked, want) {
			t.Errorf("it looked after %v seconds, want %v", looked, want)
		}
		if want := []string{"nobody 2", "busy 4"}; !slices.Equal(said, want) {
			t.Errorf("it said %q, want %q", said, want)
		}
	})
}

// What begins within a second is not looked after.
func TestNoteWaitingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looked := false
		stop := (&App{}).noteWaiting(t.Context(), func(context.Context) (obstacle, bool) { looked = true; return obstacle{}, true }, nil)
		time.Sleep(waitFirst - 1)
		stop()
		time.Sleep(time.Hour)
		if looked {
			t.Error("it looked")
		}
	})
}
