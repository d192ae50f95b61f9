package docs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Where the pinned grpcurl is not built, this test's own binary stands in for it under that name, for what
// the README uses of it. So the README's requests are always made.

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "grpcurl" {
		if err := grpcurl(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// grpcurl makes one request: [-plaintext] [-d DATA] ADDRESS METHOD.
func grpcurl(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("grpcurl", flag.ContinueOnError)
	flags.Bool("plaintext", false, "")
	data := flags.String("d", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return fmt.Errorf("grpcurl: this one knows ADDRESS METHOD, not %q", flags.Args())
	}
	method, err := findMethod(flags.Arg(1))
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(flags.Arg(0), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	return request(conn, flags.Arg(1), method, *data, out)
}

// request sends what data has, and prints what comes.
func request(conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor, data string, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+name)
	if err != nil {
		return err
	}
	requests := json.NewDecoder(strings.NewReader(cmp.Or(data, "{}")))
	for {
		var one json.RawMessage
		if err := requests.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		message := empty(m.Input())
		if err := protojson.Unmarshal(one, message); err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		message := empty(m.Output())
		if err := stream.RecvMsg(message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		text, err := protojson.Marshal(message)
		if err != nil {
			return err
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, text, "", "  "); err != nil {
			return err
		}
		fmt.Fprintln(out, pretty.String())
	}
}
