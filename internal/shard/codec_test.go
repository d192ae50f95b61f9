package shard

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// Every kind of record, drawn with everything that it can have. A new kind has to be added here, or
// TestEveryRecordHasAGenerator says so.
var recordGenerators = map[string]func(*rapid.T) any{
	"floor":    func(t *rapid.T) any { return &floor{rapid.Uint64().Draw(t, "sequence")} },
	"queuePut": func(t *rapid.T) any { return &queue.QueuePut{State: drawQueue(t)} },
	"callPut":  func(t *rapid.T) any { return &queue.CallPut{State: drawCall(t)} },
	"callAcknowledged": func(t *rapid.T) any {
		return &queue.CallAcknowledged{ID: drawID(t), Ranges: drawRanges(t), Kept: drawIDs(t)}
	},
	"callChanged": func(t *rapid.T) any {
		return &queue.CallChanged{
			ID: drawID(t), Session: drawSession(t), Finished: drawBool(t), CancelledTo: drawID(t), DaemonsOnly: drawBool(t),
			CancelGrace: drawDuration(t),
		}
	},
	"callDropped": func(t *rapid.T) any { return &queue.CallDropped{ID: drawID(t)} },
	"taskPut":     func(t *rapid.T) any { return &queue.TaskPut{State: drawTask(t)} },
	"taskDispatched": func(t *rapid.T) any {
		return &queue.TaskDispatched{
			ID: drawID(t), Token: drawID(t), Session: drawSession(t), StartedAt: drawWall(t), Attempts: drawCount(t),
		}
	},
	"taskRetried": func(t *rapid.T) any {
		return &queue.TaskRetried{ID: drawID(t), End: drawEnd(t), Next: drawWall(t), Tries: drawCount(t), Error: drawError(t), EndedAt: drawWall(t), Worker: drawText(t), Since: drawID(t)}
	},
	"taskReady": func(t *rapid.T) any { return &queue.TaskReady{ID: drawID(t), Since: drawID(t)} },
	"taskLosses": func(t *rapid.T) any {
		return &queue.TaskLosses{ID: drawID(t), Losses: drawCount(t), Suspects: drawSessions(t)}
	},
	"taskCancelling": func(t *rapid.T) any {
		return &queue.TaskCancelling{ID: drawID(t), Grace: drawDuration(t), Expiring: drawBool(t)}
	},
	"taskFinished": func(t *rapid.T) any {
		return &queue.TaskFinished{ID: drawID(t), Tries: drawCount(t), Outcome: drawOutcome(t), Since: drawID(t)}
	},
	"taskUnblocked": func(t *rapid.T) any {
		state := rapid.SampledFrom([]queue.State{queue.Scheduled, queue.Blocked, queue.Ready}).Draw(t, "state")
		return &queue.TaskUnblocked{ID: drawID(t), Dependency: drawID(t), State: state, Next: drawWall(t), Since: drawID(t)}
	},
	"taskRevived": func(t *rapid.T) any {
		r := &queue.TaskRevived{ID: drawID(t), State: queue.Ready, Undue: drawBool(t), Since: drawID(t), RequestID: drawText(t), With: drawID(t)}
		if drawBool(t) {
			r.State, r.Waits = queue.Blocked, []uint64{drawID(t), drawID(t)}
		}
		return r
	},
	"taskJoined": func(t *rapid.T) any { return &queue.TaskJoined{ID: drawID(t), RequestID: drawText(t)} },
	"taskAdvanced": func(t *rapid.T) any {
		return &queue.TaskAdvanced{ID: drawID(t), Checkpoint: drawCheckpoint(t), Partials: drawPayloads(t)}
	},
	"callInterrupted": func(t *rapid.T) any {
		return &queue.CallInterrupted{ID: drawID(t), Interrupt: drawInterrupt(t)}
	},
	"taskDetached": func(t *rapid.T) any { return &queue.TaskDetached{ID: drawID(t)} },
	"queueDropped": func(t *rapid.T) any { return &queue.QueueDropped{ID: drawID(t)} },
	"taskDropped":  func(t *rapid.T) any { return &queue.TaskDropped{ID: drawID(t)} },
	"sessionPut":   func(t *rapid.T) any { return &session.Put{State: drawSessionState(t)} },
	"sessionEnded": func(t *rapid.T) any {
		return &session.Ended{ID: drawSession(t), Reason: rapid.SampledFrom([]session.EndReason{session.Closed, session.Expired}).Draw(t, "reason")}
	},
}

func drawRecord(t *rapid.T) any {
	kind := rapid.SampledFrom(sortedKinds()).Draw(t, "kind")
	return recordGenerators[kind](t)
}

// TestRecordsRoundTrip writes a few records and reads them again.
func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 5).Draw(t, "records")
		e := newEncoder()
		for _, rec := range records {
			e.Record(rec)
		}
		var got []any
		if err := decode(e.buf, func(rec any) error { got = append(got, rec); return nil }); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, records) {
			t.Fatalf("wrote %#v\nread  %#v", records, got)
		}
	})
}

// TestEveryKindRoundTrips is the same for each kind, so that none is left to luck.
func TestEveryKindRoundTrips(t *testing.T) {
	for _, kind := range sortedKinds() {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := recordGenerators[kind](t)
				e := newEncoder()
				e.Record(want)
				err := decode(e.buf, func(got any) error {
					if !reflect.DeepEqual(got, want) {
						t.Fatalf("wrote %#v\nread  %#v", want, got)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestEveryRecordHasAGenerator counts the kinds in the schema.
func TestEveryRecordHasAGenerator(t *testing.T) {
	if kinds := recordKinds(); kinds != len(recordGenerators) {
		t.Errorf("the schema has %d kinds of records, %d are tested", kinds, len(recordGenerators))
	}
}

func TestUnknownKindIsAnError(t *testing.T) {
	rec := protowire.AppendTag(nil, 1000, protowire.BytesType) // a change that this version does not know
	rec = protowire.AppendBytes(rec, []byte{1})
	body := append(binary.AppendUvarint(nil, uint64(len(rec))), rec...)
	err := decode(body, func(any) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Fatalf("got %v", err)
	}
}

// FuzzDecode reads whatever there is: it may be refused, and must not panic.
func FuzzDecode(f *testing.F) {
	for _, kind := range sortedKinds() {
		for seed := range 3 {
			e := newEncoder()
			e.Record(rapid.Custom(recordGenerators[kind]).Example(seed))
			f.Add(e.buf)
		}
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		_ = decode(body, func(rec any) error {
			e := newEncoder()
			e.Record(rec) // what can be read can be written
			return nil
		})
	})
}

func drawID(t *rapid.T) uint64 { return rapid.Uint64().Draw(t, "id") }
func drawIDs(t *rapid.T) []uint64 {
	var out []uint64
	for range rapid.IntRange(0, 3).Draw(t, "ids") {
		out = append(out, drawID(t))
	}
	return out
}

func drawBool(t *rapid.T) bool    { return rapid.Bool().Draw(t, "bool") }
func drawCount(t *rapid.T) uint32 { return rapid.Uint32().Draw(t, "count") }
func drawText(t *rapid.T) string  { return rapid.String().Draw(t, "text") }

func drawEnd(t *rapid.T) queue.End  { return queue.End(rapid.IntRange(0, 6).Draw(t, "end")) }
func drawWall(t *rapid.T) pure.Wall { return pure.Wall(rapid.Int64().Draw(t, "wall")) }
func drawDuration(t *rapid.T) time.Duration {
	return time.Duration(rapid.Int64().Draw(t, "duration"))
}

func drawSession(t *rapid.T) (id session.ID) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
	return id
}

func drawSessions(t *rapid.T) (ids []session.ID) {
	for range rapid.IntRange(0, 3).Draw(t, "sessions") {
		ids = append(ids, drawSession(t))
	}
	return ids
}

func drawRanges(t *rapid.T) (r pure.Ranges) {
	for range rapid.IntRange(0, 4).Draw(t, "ranges") {
		first := rapid.Uint64Range(0, 1000).Draw(t, "first")
		r.Add(first, first+rapid.Uint64Range(0, 10).Draw(t, "more"))
	}
	return r
}

func drawPayload(t *rapid.T) queue.Payload {
	p := queue.Payload{Encoding: uint8(rapid.IntRange(0, 255).Draw(t, "encoding"))}
	if data := rapid.SliceOf(rapid.Byte()).Draw(t, "data"); len(data) > 0 {
		p.Data = data
	}
	return p
}

func drawPayloads(t *rapid.T) (out []queue.Payload) {
	for range rapid.IntRange(0, 3).Draw(t, "payloads") {
		out = append(out, drawPayload(t))
	}
	return out
}

func drawCheckpoint(t *rapid.T) *queue.Checkpoint {
	if drawBool(t) {
		return nil
	}
	return &queue.Checkpoint{State: drawPayload(t), Partials: drawCount(t)}
}

func drawInterrupt(t *rapid.T) *queue.Interrupt {
	if drawBool(t) {
		return nil
	}
	return &queue.Interrupt{Number: drawID(t), Task: drawID(t), Index: drawID(t), Message: drawText(t)}
}

func drawError(t *rapid.T) *queue.Error {
	if drawBool(t) {
		return nil
	}
	return &queue.Error{Reason: drawText(t), Message: drawText(t), Stack: drawText(t), Permanent: drawBool(t)}
}

func drawOptions(t *rapid.T) *queue.Options {
	if drawBool(t) {
		return queue.DefaultOptions
	}
	o := &queue.Options{
		Timeout: drawDuration(t), Grace: drawDuration(t), AttemptsMax: drawCount(t), InitialBackoff: drawDuration(t),
		Multiplier: rapid.Float64().Draw(t, "multiplier"), BackoffMax: drawDuration(t),
		Jitter: rapid.Float64().Draw(t, "jitter"), Retention: drawDuration(t), FailedRetention: drawDuration(t), Daemon: drawBool(t), FailOnWorkerLost: drawBool(t),
	}
	o.Priority = rapid.Int16().Draw(t, "priority")
	o.Deadline, o.UniqueKey, o.FairnessKey, o.Exclusive = drawWall(t), drawText(t), drawText(t), drawBool(t)
	o.After, o.RunOnFailure = drawIDs(t), drawBool(t)
	if labels := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "worker labels"); len(labels) > 0 {
		o.WorkerLabels = labels
	}
	if labels := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "labels"); len(labels) > 0 {
		o.Labels = labels
	}
	return o
}

func drawOutcome(t *rapid.T) *queue.Outcome {
	return &queue.Outcome{
		State: queue.State(rapid.IntRange(int(queue.Succeeded), int(queue.Expired)).Draw(t, "outcome")), End: drawEnd(t),
		Result: drawPayload(t), Error: drawError(t), Worker: drawText(t), FinishedAt: drawWall(t), Spooled: drawBool(t),
		Attempts: drawCount(t), Token: drawID(t), StartedAt: drawWall(t),
		Taken: drawBool(t),
	}
}

func drawTask(t *rapid.T) *queue.TaskState {
	s := &queue.TaskState{
		Spec: queue.Spec{Kind: drawText(t), Payload: drawPayload(t), Options: drawOptions(t), RunAt: drawWall(t)},
		ID:   drawID(t), Queue: drawID(t), Call: drawID(t), Index: drawID(t), RequestID: drawText(t), CreatedAt: drawWall(t),
		State: queue.State(rapid.IntRange(int(queue.Scheduled), int(queue.Expired)).Draw(t, "state")), Next: drawWall(t),
		Extra: queue.NoExtra,
	}
	if drawBool(t) { // it has been tried
		s.Attempts, s.Tries = drawCount(t)|1, drawCount(t)
		s.Token, s.Session, s.StartedAt, s.Acknowledged = drawID(t), drawSession(t), drawWall(t), drawBool(t)
	}
	if drawBool(t) {
		s.Extra = &queue.Extra{
			Losses: drawCount(t) | 1, Suspects: drawSessions(t), LastError: drawError(t), CancelGrace: drawDuration(t),
			Expiring: drawBool(t), Waits: drawIDs(t), Joined: drawID(t), Detached: drawBool(t), Since: drawID(t),
			RetriedBy: drawText(t), RetriedWith: drawID(t), Checkpoint: drawCheckpoint(t), Partials: drawPayloads(t),
		}
		for range rapid.IntRange(0, 2).Draw(t, "joiners") {
			s.Joiners = append(s.Joiners, drawText(t))
		}
		for range rapid.IntRange(0, 2).Draw(t, "history") {
			s.History = append(s.History, queue.Attempt{
				Token: drawID(t), Worker: drawText(t), StartedAt: drawWall(t), EndedAt: drawWall(t), End: drawEnd(t), Error: drawError(t),
			})
		}
	}
	if s.State.Final() {
		s.Outcome = drawOutcome(t)
		s.Outcome.Attempts, s.Outcome.Token, s.Outcome.StartedAt = s.Attempts, s.Token, s.StartedAt
	}
	return s
}

func drawQueue(t *rapid.T) queue.QueueState {
	s := queue.QueueState{
		ID: drawID(t), Namespace: drawText(t), Name: drawText(t), CreatedAt: drawWall(t),
		Settings: queue.Settings{
			Order: queue.Order(rapid.IntRange(0, 3).Draw(t, "order")), MaxSize: drawID(t), MaxRunning: drawCount(t),
			MaxRunningPerKey: drawCount(t), Rate: rapid.Float64().Draw(t, "rate"), Burst: drawCount(t),
		},
		Paused: drawBool(t), Closed: drawBool(t), AtOnce: drawBool(t), Deleting: drawBool(t),
	}
	if to := drawID(t); drawBool(t) {
		for i := range s.Purged {
			switch rapid.IntRange(0, 2).Draw(t, "purged") {
			case 1:
				s.Purged[i] = to
			case 2:
				s.Purged[i] = drawID(t)
			}
		}
	}
	if o := drawOptions(t); o != queue.DefaultOptions {
		s.Defaults = o
	}
	return s
}

func drawCall(t *rapid.T) queue.CallState {
	return queue.CallState{
		ID: drawID(t), Namespace: drawText(t), Name: drawText(t), OpenedAt: drawWall(t), Session: drawSession(t),
		Finished: drawBool(t), Accepted: drawRanges(t), Acknowledged: drawRanges(t), CancelledTo: drawID(t),
		DaemonsOnly: drawBool(t), CancelGrace: drawDuration(t), Interrupt: drawInterrupt(t),
	}
}

func drawSessionState(t *rapid.T) session.State {
	s := session.State{
		ID: drawSession(t), Namespace: drawText(t), Kind: session.Kind(rapid.IntRange(0, 3).Draw(t, "kind")), Name: drawText(t),
		TTL: drawDuration(t), OpenedAt: drawWall(t), RequestID: drawText(t),
	}
	copy(s.RequestHash[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))
	return s
}
