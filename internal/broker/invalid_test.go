package broker

import (
	"context"
	"strings"
	"testing"

	validatev1 "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// valid has a request without violations for each message whose zero value has some.
var valid = map[string]proto.Message{
	"SubmitTaskRequest":   &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k"}},
	"GetTaskRequest":      &weftv1.GetTaskRequest{TaskId: "t1"},
	"WaitTaskRequest":     &weftv1.WaitTaskRequest{TaskId: "t1"},
	"WatchTaskRequest":    &weftv1.WatchTaskRequest{TaskId: "t1"},
	"WatchCallRequest":    &weftv1.WatchCallRequest{CallId: "c"},
	"CancelTaskRequest":   &weftv1.CancelTaskRequest{TaskId: "t1"},
	"CancelCallRequest":   &weftv1.CancelCallRequest{CallId: "c"},
	"RenewTaskRequest":    &weftv1.RenewTaskRequest{TaskId: "t1", Token: 1},
	"CompleteTaskRequest": &weftv1.CompleteTaskRequest{TaskId: "t1", Token: 1},
	"AdvanceTaskRequest":  &weftv1.AdvanceTaskRequest{TaskId: "t1", Token: 1},
	"FailTaskRequest":     &weftv1.FailTaskRequest{TaskId: "t1", Token: 1, Error: &weftv1.TaskError{}},
	"ReleaseTaskRequest":  &weftv1.ReleaseTaskRequest{TaskId: "t1", Token: 1},
	"ExplainTaskRequest":  &weftv1.ExplainTaskRequest{TaskId: "t1"},
	"UpdateQueueRequest":  &weftv1.UpdateQueueRequest{Queue: &weftv1.Queue{Name: "q"}},
	"CreateQueueRequest":  &weftv1.CreateQueueRequest{Queue: &weftv1.Queue{Name: "q"}},
	"RenewSessionRequest": &weftv1.RenewSessionRequest{SessionId: "s"},
	"CloseSessionRequest": &weftv1.CloseSessionRequest{SessionId: "s"},

	"AcquireLockRequest":      &weftv1.AcquireLockRequest{Name: "x"},
	"GetLockRequest":          &weftv1.GetLockRequest{Name: "x"},
	"WatchLockRequest":        &weftv1.WatchLockRequest{Name: "x"},
	"SetEventRequest":         &weftv1.SetEventRequest{Name: "x"},
	"ClearEventRequest":       &weftv1.ClearEventRequest{Name: "x"},
	"WaitEventRequest":        &weftv1.WaitEventRequest{Name: "x"},
	"DeleteEventRequest":      &weftv1.DeleteEventRequest{Name: "x"},
	"AbortBarrierRequest":     &weftv1.AbortBarrierRequest{Name: "x"},
	"ResetBarrierRequest":     &weftv1.ResetBarrierRequest{Name: "x"},
	"GetValueRequest":         &weftv1.GetValueRequest{Name: "x"},
	"WatchValueRequest":       &weftv1.WatchValueRequest{Name: "x"},
	"DeleteValueRequest":      &weftv1.DeleteValueRequest{Name: "x"},
	"ReleaseLockRequest":      &weftv1.ReleaseLockRequest{Name: "x", Token: 1},
	"CheckLockRequest":        &weftv1.CheckLockRequest{Name: "x", Token: 1},
	"PublishLockRequest":      &weftv1.PublishLockRequest{Name: "x", Token: 1},
	"WaitConditionRequest":    &weftv1.WaitConditionRequest{Name: "x", Token: 1, Holder: &weftv1.Holder{}},
	"NotifyConditionRequest":  &weftv1.NotifyConditionRequest{Name: "x", Token: 1, Holder: &weftv1.Holder{}},
	"AcquireSemaphoreRequest": &weftv1.AcquireSemaphoreRequest{Name: "x", Spec: &weftv1.SemaphoreSpec{}},
	"ReleaseSemaphoreRequest": &weftv1.ReleaseSemaphoreRequest{Name: "x", Spec: &weftv1.SemaphoreSpec{}},
	"WaitBarrierRequest":      &weftv1.WaitBarrierRequest{Name: "x", Parties: 1, Holder: &weftv1.Holder{}},
	"CompleteBarrierRequest":  &weftv1.CompleteBarrierRequest{Name: "x", Generation: 1, Holder: &weftv1.Holder{}},
	"SetValueRequest":         &weftv1.SetValueRequest{Name: "x", Data: &weftv1.Data{}},
	"AddValueRequest":         &weftv1.AddValueRequest{Name: "x", Delta: &weftv1.AddValueRequest_Int64Delta{}},
	"WaitValueRequest":        &weftv1.WaitValueRequest{Name: "x", Until: &weftv1.WaitValueRequest_NewerThan{}},

	"InterruptSubmitterRequest": &weftv1.InterruptSubmitterRequest{TaskId: "t1", Token: 1},

	"CreateScheduleRequest":   &weftv1.CreateScheduleRequest{Schedule: &weftv1.Schedule{Name: "s"}},
	"UpdateScheduleRequest":   &weftv1.UpdateScheduleRequest{Schedule: &weftv1.Schedule{Name: "s"}},
	"GetScheduleRequest":      &weftv1.GetScheduleRequest{Name: "s"},
	"PauseScheduleRequest":    &weftv1.PauseScheduleRequest{Name: "s"},
	"ResumeScheduleRequest":   &weftv1.ResumeScheduleRequest{Name: "s"},
	"DeleteScheduleRequest":   &weftv1.DeleteScheduleRequest{Name: "s"},
	"RunScheduleRequest":      &weftv1.RunScheduleRequest{Name: "s"},
	"NextScheduleRunsRequest": &weftv1.NextScheduleRunsRequest{Name: "s"},
}

// violation is a request that breaks the rule of one field.
type violation struct {
	method  string
	field   string
	request proto.Message
}

// violations makes one or more for every annotated field of every request that is validated as a whole.
func violations(t *testing.T) (out []violation) {
	t.Helper()
	for _, file := range []protoreflect.FileDescriptor{
		weftv1.File_weft_v1_task_service_proto, weftv1.File_weft_v1_queue_service_proto,
		weftv1.File_weft_v1_session_service_proto, weftv1.File_weft_v1_worker_service_proto,
		weftv1.File_weft_v1_schedule_service_proto, weftv1.File_weft_v1_lock_service_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for k := range s.Methods().Len() {
				if m := s.Methods().Get(k); !m.IsStreamingClient() {
					out = append(out, violationsOf(t, m)...)
				}
			}
		}
	}
	return out
}

func violationsOf(t *testing.T, m protoreflect.MethodDescriptor) (out []violation) {
	t.Helper()
	base := dynamicpb.NewMessage(m.Input())
	if v := valid[string(m.Input().Name())]; v != nil {
		data, err := proto.Marshal(v)
		if err != nil || proto.Unmarshal(data, base) != nil {
			t.Fatal(err)
		}
	}
	if err := newValidator(t).Validate(base); err != nil {
		t.Fatalf("%s: the request that should be valid is not: %v", m.FullName(), err)
	}
	method := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	var walk func(md protoreflect.MessageDescriptor, path string, within func(root protoreflect.Message) protoreflect.Message)
	walk = func(md protoreflect.MessageDescriptor, path string, within func(protoreflect.Message) protoreflect.Message) {
		for i := range md.Fields().Len() {
			f := md.Fields().Get(i)
			name := path + string(f.Name())
			rules, _ := proto.GetExtension(f.Options(), validatev1.E_Field).(*validatev1.FieldRules)
			for _, breaks := range breakers(t, f, rules) {
				root := proto.Clone(base).ProtoReflect()
				suffix := breaks(within(root))
				out = append(out, violation{method, name + suffix, root.Interface()})
			}
			if f.Message() == nil || f.IsList() || f.IsMap() || f.Message().ParentFile().Package() != "weft.v1" {
				continue
			}
			walk(f.Message(), name+".", func(root protoreflect.Message) protoreflect.Message {
				sub := within(root).Mutable(f).Message()
				if argv := sub.Descriptor().Fields().ByName("argv"); argv != nil {
					sub.Mutable(argv).List().Append(protoreflect.ValueOf("true")) // needed beside what is broken
				}
				if sub.Descriptor().Name() == "Guard" {
					proto.Merge(sub.Interface(), guardOver(sub))
				}
				return sub
			})
		}
	}
	walk(m.Input(), "", func(root protoreflect.Message) protoreflect.Message { return root })
	return out
}

// guardOver is a guard that keeps its rules.
func guardOver(sub protoreflect.Message) proto.Message {
	guard := sub.New()
	guard.Set(sub.Descriptor().Fields().ByName("lock"), protoreflect.ValueOf("x"))
	guard.Set(sub.Descriptor().Fields().ByName("token"), protoreflect.ValueOf(uint64(1)))
	return guard.Interface()
}

// breaker sets a field to what its rule forbids, and returns what the path of the violation adds.
type breaker func(m protoreflect.Message) (suffix string)

func breakers(t *testing.T, f protoreflect.FieldDescriptor, r *validatev1.FieldRules) (out []breaker) {
	t.Helper()
	if r == nil {
		return nil
	}
	set := func(v any) {
		out = append(out, func(m protoreflect.Message) string { m.Set(f, protoreflect.ValueOf(v)); return "" })
	}
	if r.GetRequired() || r.GetRepeated().GetMinItems() > 0 {
		out = append(out, func(m protoreflect.Message) string { m.Clear(f); return "" })
	}
	switch x := r.GetType().(type) {
	case nil:
	case *validatev1.FieldRules_String_:
		if x.String_.HasPattern() {
			set("no\x00name")
			set(strings.Repeat("n", 300))
		} else {
			set(strings.Repeat("n", max(40_000, int(x.String_.GetMaxBytes())+1)))
		}
	case *validatev1.FieldRules_Int32:
		set(x.Int32.GetLte() + 1)
		set(x.Int32.GetGte() - 1)
	case *validatev1.FieldRules_Uint32:
		set(x.Uint32.GetLte() + 1)
	case *validatev1.FieldRules_Uint64:
		set(x.Uint64.GetGt())
	case *validatev1.FieldRules_Int64:
		set(x.Int64.GetGte() - 1)
		if x.Int64.HasLte() {
			set(x.Int64.GetLte() + 1)
		}
	case *validatev1.FieldRules_Bytes:
		set(make([]byte, x.Bytes.GetMaxLen()+1))
	case *validatev1.FieldRules_Double:
		set(x.Double.GetGte() - 1)
		set(x.Double.GetLte() + 1)
	case *validatev1.FieldRules_Enum:
		set(protoreflect.EnumNumber(99))
	case *validatev1.FieldRules_Duration:
		out = append(out, setDuration(f, &durationpb.Duration{Seconds: -1}))
		if most := x.Duration.GetLte(); most != nil {
			out = append(out, setDuration(f, &durationpb.Duration{Seconds: most.GetSeconds(), Nanos: 1}))
		}
	case *validatev1.FieldRules_Repeated:
		out = append(out, breakList(f, x.Repeated)...)
	case *validatev1.FieldRules_Map:
		out = append(out, breakMap(f, x.Map)...)
	default:
		t.Fatalf("%s has a rule of a new type: %T", f.FullName(), x)
	}
	return out
}

func setDuration(f protoreflect.FieldDescriptor, d *durationpb.Duration) breaker {
	return func(m protoreflect.Message) string {
		x := m.Mutable(f).Message()
		x.Set(x.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOf(d.GetSeconds()))
		x.Set(x.Descriptor().Fields().ByName("nanos"), protoreflect.ValueOf(d.GetNanos()))
		return ""
	}
}

func breakList(f protoreflect.FieldDescriptor, r *validatev1.RepeatedRules) (out []breaker) {
	item := protoreflect.ValueOf("n")
	wrong := protoreflect.ValueOf("no name")
	if f.Kind() == protoreflect.EnumKind {
		item, wrong = protoreflect.ValueOf(protoreflect.EnumNumber(1)), protoreflect.ValueOf(protoreflect.EnumNumber(99))
	}
	out = append(out, func(m protoreflect.Message) string {
		for range r.GetMaxItems() + 1 {
			if f.Message() != nil {
				item = m.Mutable(f).List().NewElement()
			}
			m.Mutable(f).List().Append(item)
		}
		return ""
	})
	if r.GetItems() != nil {
		out = append(out, func(m protoreflect.Message) string { m.Mutable(f).List().Append(wrong); return "[0]" })
	}
	return out
}

func breakMap(f protoreflect.FieldDescriptor, r *validatev1.MapRules) (out []breaker) {
	put := func(m protoreflect.Message, k, v string) {
		m.Mutable(f).Map().Set(protoreflect.ValueOf(k).MapKey(), protoreflect.ValueOf(v))
	}
	out = append(out, func(m protoreflect.Message) string {
		for i := range r.GetMaxPairs() + 1 {
			put(m, pageToken(i+1), "")
		}
		return ""
	})
	if r.GetKeys() != nil {
		out = append(out, func(m protoreflect.Message) string { put(m, "no name", ""); return `["no name"]` })
	}
	if r.GetValues() != nil {
		out = append(out, func(m protoreflect.Message) string { put(m, "k", strings.Repeat("v", 2000)); return `["k"]` })
	}
	return out
}

// world is everything that lists tell of a namespace.
func (h *harness) world(namespace string) string {
	h.t.Helper()
	var b strings.Builder
	add := func(m proto.Message, err error) {
		if err != nil {
			h.t.Fatal(err)
		}
		b.WriteString(prototext.MarshalOptions{Multiline: true}.Format(m))
	}
	add(h.tasks.ListTasks(h.ctx(), &weftv1.ListTasksRequest{Namespace: namespace, PageSize: 1000, View: weftv1.View_VIEW_FULL}))
	add(h.queues.ListQueues(h.ctx(), &weftv1.ListQueuesRequest{Namespace: namespace, PageSize: 1000}))
	add(h.sessions.ListSessions(h.ctx(), &weftv1.ListSessionsRequest{Namespace: namespace, PageSize: 1000}))
	locks := h.locks()
	add(locks.ListLocks(h.ctx(), &weftv1.ListLocksRequest{Namespace: namespace, PageSize: 1000}))
	add(locks.ListSemaphores(h.ctx(), &weftv1.ListSemaphoresRequest{Namespace: namespace, PageSize: 1000}))
	add(locks.ListBarriers(h.ctx(), &weftv1.ListBarriersRequest{Namespace: namespace, PageSize: 1000}))
	add(locks.ListEvents(h.ctx(), &weftv1.ListEventsRequest{Namespace: namespace, PageSize: 1000}))
	add(locks.ListValues(h.ctx(), &weftv1.ListValuesRequest{Namespace: namespace, PageSize: 1000}))
	return strings.ReplaceAll(b.String(), "  ", " ") // prototext varies its spaces on purpose
}

// unchanged fails the test if what do does changes anything in the default namespace.
func (h *harness) unchanged(do func()) {
	h.t.Helper()
	before := h.world("")
	do()
	if after := h.world(""); after != before {
		h.t.Fatalf("something has changed:\n%s\nwas\n%s", after, before)
	}
}

// call sends a request to a method, be it unary or with a stream of answers, and returns its error.
func (h *harness) call(ctx context.Context, method string, req proto.Message) error {
	if !strings.Contains(method, "/Watch") {
		return h.conn.Invoke(ctx, method, req, &weftv1.ReleaseTaskResponse{})
	}
	stream, err := h.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = stream.SendMsg(req)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = stream.RecvMsg(&weftv1.ReleaseTaskResponse{})
	}
	return err
}

func TestEveryAnnotatedFieldIsChecked(t *testing.T) {
	h := newHarness(t)
	h.submit("k")
	all := violations(t)
	if len(all) < 90 {
		t.Fatalf("only %d violations", len(all))
	}
	ctx := h.ctx()
	h.unchanged(func() {
		for _, v := range all {
			err := h.call(ctx, v.method, v.request)
			if err == nil {
				t.Errorf("%s: %s was not checked", v.method, v.field)
				continue
			}
			if got := refused(t, err); got.reason != string(pure.InvalidField) || got.meta["field"] != v.field || got.meta["rule"] == "" {
				t.Errorf("%s: %s: %s %v", v.method, v.field, got.reason, got.meta)
			}
		}
	})
}
