package worker

import (
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func taskID(token uint64) string { return "t" + strconv.FormatUint(token, 36) }
