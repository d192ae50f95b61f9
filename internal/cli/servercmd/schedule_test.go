package servercmd

import (
	"strings"
	"testing"
	"time"
)

// lines are what a schedule's show prints, by name.
func (w *weftProgram) shown(name string) map[string]string {
	w.t.Helper()
	r := w.run("schedule", "show", name)
	if r.code != 0 {
		w.t.Fatalf("%+v", r)
	}
	m := map[string]string{}
	for line := range strings.Lines(r.stdout) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		m[key] = strings.TrimSpace(value)
	}
	return m
}

func TestSchedules(t *testing.T) {
	w := start(t)
	create := []string{
		"schedule", "create", "report", "--cron", "30 7 * * MON-FRI", "--zone", "Europe/Berlin", "--catch-up", "latest",
		"--catch-up-window", "2h", "--overlap", "skip", "-l", "team=a", "--", "sh", "-c", "echo $0 --cron",
	}
	w.want(run{0, "report\n", ""}, create...)
	w.want(run{0, "report\n", ""}, create...)
	if r := w.run("schedule", "create", "report", "--cron", "@daily", "--", "true"); r.code != 125 || !strings.Contains(r.stderr, "SCHEDULE_EXISTS") {
		t.Errorf("%+v", r)
	}
	got := w.shown("report")
	for key, want := range map[string]string{
		"state": "active", "cron": "30 7 * * MON-FRI", "zone": "Europe/Berlin", "catch-up": "latest", "catch-up window": "2h0m0s",
		"overlap": "skip", "queue": "default", "kind": "command", "command": "sh -c 'echo $0 --cron'", "label": "team=a",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	r := w.run("schedule", "next", "-c", "3", "report")
	times := strings.Fields(r.stdout)
	if r.code != 0 || len(times) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, text := range times {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || at.Hour() != 7 || at.Minute() != 30 || at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			t.Errorf("next is %s, %v", text, err)
		}
	}

	r = w.run("schedule", "run", "report")
	id := strings.TrimSpace(r.stdout)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	w.want(run{0, "", ""}, "wait", id)
	if r := w.run("task", "show", id); !strings.Contains(r.stdout, "weft.schedule=report") || !strings.Contains(r.stdout, "weft.scheduled_at=2") {
		t.Errorf("%+v", r)
	}
	if last := w.shown("report")["last run"]; !strings.HasSuffix(last, ", "+id) {
		t.Errorf("the last run is %q", last)
	}

	w.want(run{0, "report is paused\n", ""}, "schedule", "pause", "report")
	if r := w.run("schedules"); r.code != 0 || !strings.Contains(r.stdout, "report") || !strings.Contains(r.stdout, "paused") {
		t.Errorf("%+v", r)
	}
	w.want(run{0, "report is resumed\n", ""}, "schedule", "resume", "report")
	w.want(run{0, "report\n", ""}, "schedule", "resume", "report", "-o", "name")
	w.json(`"name":"report"`, "schedule", "resume", "report")
	w.want(run{0, "report\n", ""}, "schedules", "-o", "name")
	if r := w.run("schedules", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"next_run_at"`) || !strings.Contains(r.stdout, `"argv"`) {
		t.Errorf("%+v", r)
	}
	if r := w.run("schedules", "-o", "json", "--full"); r.code != 0 || !strings.Contains(r.stdout, "argv") {
		t.Errorf("%+v", r)
	}
	w.want(run{0, "report is deleted\n", ""}, "schedule", "delete", "report")
	w.want(run{0, "", ""}, "schedules", "-o", "name")
	if r := w.run("schedule", "show", "report"); r.code != 125 || !strings.Contains(r.stderr, "SCHEDULE_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

func TestScheduleUpdate(t *testing.T) {
	w := start(t)
	const s = "s\n"
	w.want(run{0, s, ""}, "schedule", "create", "s", "--cron", "@yearly", "--paused", "--catch-up", "all", "--catch-up-window", "1h",
		"--retries", "3", "--backoff", "1m", "--dir", "/srv", "-e", "A=b", "--", "true")
	w.want(run{0, s, ""}, "schedule", "update", "s", "--cron", "0 12 1 1 *", "--zone", "America/New_York")
	w.want(run{0, s, ""}, "schedule", "update", "s", "--catch-up", "skip")
	want := map[string]string{
		"cron": "0 12 1 1 *", "zone": "America/New_York", "catch-up": "skip", "catch-up window": "", "command": "true", "state": "paused",
		"retries": "3", "backoff": "1m0s", "directory": "/srv", "queue": "default",
	}
	check := func(key, value string, args ...string) {
		t.Helper()
		w.want(run{0, s, ""}, append([]string{"schedule", "update", "s"}, args...)...)
		want[key] = value
		got := w.shown("s")
		for key, want := range want {
			if got[key] != want {
				t.Errorf("after %v: %s is %q, want %q", args, key, got[key], want)
			}
		}
	}
	// One of the task's settings changes that one.
	w.want(run{0, "other\n", ""}, "queue", "create", "other")
	const nobody = "weft: no worker serves queue other now: the runs wait for one\n"
	w.want(run{0, s, nobody}, "schedule", "update", "s", "--queue", "other")
	want["queue"] = "other"
	w.want(run{0, s, ""}, "schedule", "update", "s", "--queue", "default")
	want["queue"] = "default"
	check("retries", "5", "--retries", "5")
	check("backoff", "2s", "--backoff", "2s")
	check("directory", "/tmp", "--dir", "/tmp")
	check("command", "echo x", "--", "echo", "x")
	check("label", "a=b", "-l", "a=b")
	w.json(`"env":{"A":"b"}`, "schedule", "show", "s")
	w.json(`"priority":-8`, "schedule", "update", "s", "--priority", "-8")
	w.has(2, []string{"--payload needs --kind"}, "schedule", "update", "s", "--payload", "p")
	delete(want, "command")
	delete(want, "directory")
	const kind = "weft: no worker of queue default handles kind k now: the runs wait for one\n"
	w.want(run{0, s, kind}, "schedule", "update", "s", "--kind", "k", "--payload", "p")
	w.want(run{0, s, kind}, "schedule", "update", "s", "--payload", "q")
	w.has(2, []string{"are about a command, and the schedule has tasks of kind k"}, "schedule", "update", "s", "--dir", "/")
	if got := w.shown("s"); got["kind"] != "k" || got["payload"] != "q" || got["command"] != "" || got["label"] != "a=b" {
		t.Errorf("%v", got)
	}
	want["payload"] = ""
	check("command", "true", "--", "true")

	w.want(run{0, s, "weft: there is no queue nowhere: every run is refused until there is (weft queue create nowhere)\n"},
		"schedule", "update", "s", "-q", "nowhere")
	if r := w.run("schedule", "run", "s"); r.code != 125 || !strings.Contains(r.stderr, "QUEUE_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

// A refused run is told with its time and cause: what was in its way may be gone.
func TestScheduleRefused(t *testing.T) {
	w := start(t)
	w.has(0, []string{"s\n", "there is no queue nowhere"}, "schedule", "create", "s", "--cron", "@every 1s", "-q", "nowhere", "--", "true")
	deadline := time.Now().Add(30 * time.Second)
	for w.shown("s")["refused"] == "" {
		if time.Now().After(deadline) {
			t.Fatal("no run is refused")
		}
	}
	w.has(0, []string{"REFUSED", "active", " queue_not_found"}, "schedules")
}

func TestScheduleCommandLines(t *testing.T) {
	w := start(t)
	for _, test := range []struct {
		code int
		says string
		args []string
	}{
		{2, "--cron is needed", []string{"create", "s", "--", "true"}},
		{2, "which command", []string{"create", "s", "--cron", "@daily"}},
		{2, "one name", []string{"create", "--cron", "@daily", "--", "true"}},
		{2, "one name", []string{"create", "s", "t", "--cron", "@daily", "--", "true"}},
		{2, "none of all, latest, skip", []string{"create", "s", "--cron", "@daily", "--catch-up", "some", "--", "true"}},
		{2, "none of allow, skip", []string{"create", "s", "--cron", "@daily", "--overlap", "some", "--", "true"}},
		{2, "--payload needs --kind", []string{"create", "s", "--cron", "@daily", "--payload", "x"}},
		{2, "takes no command", []string{"create", "s", "--cron", "@daily", "--kind", "k", "--", "true"}},
		{2, "unknown flag", []string{"create", "s", "--cron", "@daily", "--local", "--", "true"}},
		{2, "nothing to change", []string{"update", "s"}},
		{2, "--kind takes no command", []string{"update", "s", "--kind", "k", "--", "true"}},
		{2, "--timeout -1s", []string{"update", "s", "--timeout", "-1s"}},
		{2, "--retention -1s", []string{"update", "s", "--retention", "-1s"}},
		{2, "schedule a b: a name is", []string{"create", "a b", "--cron", "@daily", "--", "true"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"update", "s", "--timeout", "1s"}},
		{2, "--count 0", []string{"next", "s", "-c", "0"}},
		{2, "", []string{"pause"}},
		{2, "schedule.cron", []string{"create", "s", "--cron", "every day", "--", "true"}},
		{2, "schedule.time_zone", []string{"create", "s", "--cron", "@daily", "--zone", "Mars", "--", "true"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"update", "s", "--cron", "@daily"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"next", "s"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"pause", "s"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"resume", "s"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"delete", "s"}},
		{125, "SCHEDULE_NOT_FOUND", []string{"run", "s"}},
	} {
		if r := w.run(append([]string{"schedule"}, test.args...)...); r.code != test.code || !strings.Contains(r.stderr, test.says) {
			t.Errorf("%q: %+v, want exit code %d and %q", test.args, r, test.code, test.says)
		}
	}
}
