package worker

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A worker finds its broker as a client does.
func TestWhereTheBrokerIs(t *testing.T) {
	for _, test := range []struct{ broker, env, want string }{
		{"", "", "127.0.0.1:9338"},
		{"", "there:1", "there:1"},
		{"", "there", "there:9338"},
		{"here", "there:1", "here:9338"},
		{"here:2", "there:1", "here:2"},
		{"dns:///here", "", "dns:///here"},
	} {
		t.Setenv("WEFT_BROKER", test.env)
		t.Setenv("WEFT_NAMESPACE", "n")
		w, err := New(Config{Broker: test.broker})
		if err != nil || w.broker() != test.want || w.cfg.Namespace != "n" {
			t.Errorf("%+v: %v", test, err)
		}
	}
	conn, err := grpc.NewClient("over.there:3", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if w, err := New(Config{Conn: conn}); err != nil || w.broker() != "over.there:3" {
		t.Errorf("by its connection: %v", err)
	}
	if _, err := New(Config{Conn: conn, Broker: "here"}); err == nil {
		t.Error("two brokers are accepted")
	}
}
