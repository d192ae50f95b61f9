package docs

// examples has the requests of docs/grpc.md: JSON, one object for each message that is sent. The tests
// hold them against the API.
var examples = map[string][]string{
	"TaskService/Execute": {
		`{"attach":{"call_id":"nightly-7"}}`,
		`{"tasks":[{"index":"0","spec":{"command":{"argv":["date"]}}}],"finish":true}`,
	},
	"TaskService/SubmitTask":   {`{"command":{"argv":["sh","-c","echo hi; exit 3"]}}`},
	"TaskService/GetTask":      {`{"task_id":"t1"}`},
	"TaskService/ListTasks":    {`{"queue":"default","states":["TASK_STATE_RUNNING"]}`},
	"TaskService/WaitTask":     {`{"task_id":"t1","wait":"30s"}`},
	"TaskService/WatchTask":    {`{"task_id":"t1","output":true}`},
	"TaskService/WatchCall":    {`{"call_id":"nightly-7"}`},
	"TaskService/CancelTask":   {`{"task_id":"t1","grace":"2s"}`},
	"TaskService/CancelCall":   {`{"call_id":"nightly-7"}`},
	"TaskService/ReserveTasks": {`{"queue":"orders","lease":"300s","wait":"10s"}`},
	"TaskService/RenewTask":    {`{"task_id":"t1","token":"17"}`},
	"TaskService/CompleteTask": {`{"task_id":"t1","token":"17","result":{"json":{"ok":true}}}`},
	"TaskService/FailTask":     {`{"task_id":"t1","token":"17","error":{"reason":"no_stock","message":"sold out"}}`},
	"TaskService/ReleaseTask":  {`{"task_id":"t1","token":"17"}`},
	"TaskService/AdvanceTask": {
		`{"task_id":"t1","token":"17","progress":{"done":"3","total":"10"},"checkpoint":{"state":{"json":3}}}`,
	},
	"TaskService/InterruptSubmitter": {`{"task_id":"t1","token":"17","message":"the disk is full"}`},
	"TaskService/SubmitTasks": {
		`{"tasks":[{"queue":"orders","kind":"order","payload":{"json":7}},{"queue":"orders","kind":"order","payload":{"json":8}}]}`,
	},
	"TaskService/RetryTasks":  {`{"queue":"orders"}`},
	"TaskService/ExplainTask": {`{"task_id":"t1"}`},

	"QueueService/CreateQueue": {`{"queue":{"name":"orders","max_size":"1000","order":"QUEUE_ORDER_FIFO"}}`},
	"QueueService/GetQueue":    {`{"name":"orders"}`},
	"QueueService/ListQueues":  {`{}`},
	"QueueService/UpdateQueue": {`{"queue":{"name":"orders","order":"QUEUE_ORDER_FIFO","max_size":"1000","max_running":10}}`},
	"QueueService/PauseQueue":  {`{"name":"orders"}`},
	"QueueService/ResumeQueue": {`{"name":"orders"}`},
	"QueueService/CloseQueue":  {`{"name":"orders"}`},
	"QueueService/ReopenQueue": {`{"name":"orders"}`},
	"QueueService/PurgeQueue":  {`{"name":"orders"}`},
	"QueueService/DeleteQueue": {`{"name":"orders","force":true}`},
	"QueueService/JoinQueue":   {`{"name":"orders","wait":"10s"}`},
	"QueueService/PeekQueue":   {`{"name":"orders","tasks_max":3}`},

	"ScheduleService/CreateSchedule": {
		`{"schedule":{"name":"report","cron":"30 7 * * MON-FRI","time_zone":"Europe/Berlin","task":{"command":{"argv":["date"]}}}}`,
	},
	"ScheduleService/GetSchedule":      {`{"name":"report"}`},
	"ScheduleService/ListSchedules":    {`{}`},
	"ScheduleService/UpdateSchedule":   {`{"schedule":{"name":"report","cron":"0 8 * * MON-FRI"},"update_mask":"cron"}`},
	"ScheduleService/PauseSchedule":    {`{"name":"report"}`},
	"ScheduleService/ResumeSchedule":   {`{"name":"report"}`},
	"ScheduleService/DeleteSchedule":   {`{"name":"report"}`},
	"ScheduleService/RunSchedule":      {`{"name":"report"}`},
	"ScheduleService/NextScheduleRuns": {`{"name":"report","count":10}`},

	"SessionService/OpenSession":  {`{"name":"me","ttl":"60s"}`},
	"SessionService/RenewSession": {`{"session_id":"0123456789abcdef0123456789abcdef"}`},
	"SessionService/KeepSession":  {`{"session_id":"0123456789abcdef0123456789abcdef"}`, `{}`},
	"SessionService/CloseSession": {`{"session_id":"0123456789abcdef0123456789abcdef"}`},
	"SessionService/ListSessions": {`{}`},

	"WorkerService/Work": {
		`{"hello":{"worker":"by-hand","queues":["default"],"kinds":["command"],"slots":1,"credits":1}}`,
	},
	"WorkerService/ListWorkers": {`{}`},
}
