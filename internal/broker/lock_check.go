package broker

import (
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// plain tells whether a command of a stream certainly keeps the rules of its annotations: the busy ones are looked at by
// hand, and whatever is not plain is left to the validator. A test holds it to the annotations.
func plain(m lockRequest) bool {
	if !nameOK(m.GetName(), 1) {
		return false
	}
	switch m := m.(type) {
	case *weftv1.AcquireLockRequest:
		return plainHolder(m.GetHolder()) && plainWait(m.GetWait()) && m.GetLease() == nil && m.GetMode() >= 0 &&
			m.GetMode() <= weftv1.LockMode_LOCK_MODE_SHARED && m.GetPublished() == ""
	case *weftv1.ReleaseLockRequest:
		return plainHolder(m.GetHolder()) && m.GetToken() > 0
	case *weftv1.WaitConditionRequest:
		return plainHolder(m.GetHolder()) && plainWait(m.GetWait()) && nameOK(m.GetLock(), 0) && m.GetToken() > 0
	case *weftv1.NotifyConditionRequest:
		return plainHolder(m.GetHolder()) && nameOK(m.GetLock(), 0) && m.GetToken() > 0 && m.GetCount() <= 1000
	}
	return false
}

func plainHolder(h *weftv1.Holder) bool {
	return h == nil || h.GetSessionId() == "" && len(h.GetName()) <= sessionNameBytesMax
}

func plainWait(d *durationpb.Duration) bool {
	return d == nil || d.GetSeconds() >= 0 && d.GetSeconds() < 24*60*60 && d.GetNanos() >= 0 && d.GetNanos() < nanosPerSecond
}
