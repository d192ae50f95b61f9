package worker

import (
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(brokerEnv) != "" {
		serveFlood()
		return
	}
	goleak.VerifyTestMain(m)
}

func taskID(token uint64) string { return "t" + strconv.FormatUint(token, 36) }
