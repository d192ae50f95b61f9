package worker

import (
	"slices"
	"strings"
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

// What cannot work is refused at once, by an error that says what and why.
func TestConfigsThatCannotWork(t *testing.T) {
	for want, cfg := range map[string]Config{
		`the broker "http://here:1": an address is host:port, without http://`: {Broker: "http://here:1"},
		`the broker "::1": an address is host:port`:                            {Broker: "::1"},
		`the broker ":9338": there is no host ""`:                              {Broker: ":9338"},
		`the broker "he re:1": there is no host "he re"`:                       {Broker: "he re:1"},
		`the port "x"; 1 to 65535 are possible`:                                {Broker: "here:x"},
		`the port "0"; 1 to 65535 are possible`:                                {Broker: "here:0"},
		`the port "65536"; 1 to 65535`:                                         {Broker: "here:65536"},
		`namespace: "a b" is no name: 1 to 256 bytes`:                          {Namespace: "a b"},
		`queues: "" is no name`:                                                {Queues: []string{"a", ""}},
		`queues: "ä" is no name`:                                               {Queues: []string{"ä"}},
		`101 queues; 1 to 100`:                                                 {Queues: slices.Repeat([]string{"q"}, 101)},
		`a name of 257 bytes; 256`:                                             {Name: strings.Repeat("n", 257)},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, good := range []string{"here", "[::1]:2", "1.2.3.4:5", "dns:///here", "unix:/tmp/x", "passthrough:///x"} {
		if _, err := New(Config{Broker: good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
