package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestBrokerAddr(t *testing.T) {
	for _, test := range []struct{ flag, env, want, says string }{
		{"", "", client.DefaultBroker, ""},
		{"", "example.org", "example.org:9338", ""},
		{"10.0.0.1:1", "example.org", "10.0.0.1:1", ""},
		{"unix:///run/weft", "", "unix:///run/weft", ""},
		{"dns:///example.org:1", "", "dns:///example.org:1", ""},
		{"http://example.org:1/", "", "", "--broker http://example.org:1/: an address is HOST:PORT, without http://, such as example.org:1"},
		{"http://127.0.0.1:9339", "", "", "such as 127.0.0.1:9338"},
		{"", "grpc://example.org", "", "$WEFT_BROKER grpc://example.org: an address is HOST:PORT, without grpc://, such as example.org:9338"},
	} {
		t.Setenv(client.EnvBroker, test.env)
		a := &App{broker: test.flag}
		addr, err := a.BrokerAddr()
		if addr != test.want || (err == nil) != (test.says == "") {
			t.Errorf("%+v: %q, %v", test, addr, err)
		} else if err != nil && (!strings.HasSuffix(err.Error(), test.says) || ExitCode(err) != ExitUsage) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestWords(t *testing.T) {
	noQueue := &client.Error{
		Code: codes.NotFound, Reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND,
		Message: "there is no queue q", Metadata: map[string]string{"queue": "q"},
	}
	st, err := status.New(codes.NotFound, "there is no queue q").WithDetails(&errdetails.ErrorInfo{
		Domain: "weft", Reason: "QUEUE_NOT_FOUND", Metadata: map[string]string{"queue": "q"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("client: no broker"), "no broker"},
		{errors.New("worker: broker: weft: much"), "much"},
		{fmt.Errorf("task 1: %w", noQueue), "task 1: QUEUE_NOT_FOUND: there is no queue q (weft -n N queue create q)"},
		{fmt.Errorf("refused: %w", st.Err()), "refused: rpc error: code = NotFound desc = there is no queue q (weft -n N queue create q)"},
		{&client.Error{Code: codes.PermissionDenied, Message: "no"}, "PermissionDenied: no (the key is in $WEFT_KEY)"},
	} {
		if got := (&App{namespace: "N"}).words(test.err); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"a b":                        "a b",
		"päß 日本":                     "päß 日本",
		"two\nlines":                 `two\nlines`,
		"\xff\x1b[31m\"":             `\xff\x1b[31m\"`,
		strings.Repeat("ä", 80):      strings.Repeat("ä", 80),
		strings.Repeat("ä", 81):      strings.Repeat("ä", 80) + "…",
		strings.Repeat("\x00", 5000): strings.Repeat(`\x00`, 20) + "…",
	} {
		got := shorten(text)
		if n := utf8.RuneCountInString(got); n > 81 {
			t.Errorf("%d characters: %s", n, got)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
