package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// root is the repository's, seen from this package.
const root = "../.."

func TestPagesAreFresh(t *testing.T) {
	pages, err := Pages(os.DirFS(filepath.Join(root, "proto", "weft", "v1")))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		got, err := os.ReadFile(filepath.Join(root, p.Path))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, p.Text) {
			t.Errorf("%s is not what the .proto files say: run \"go generate ./internal/docs\"", p.Path)
		}
	}
}

// TestExamples holds every request of docs/grpc.md against the API: its fields and their rules.
func TestExamples(t *testing.T) {
	for method, requests := range examples {
		m, err := findMethod("weft.v1." + method)
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		for _, data := range requests {
			message := newMessage(t, m.Input())
			if err := protojson.Unmarshal([]byte(data), message); err != nil {
				t.Errorf("%s: %s: %v", method, data, err)
			} else if err := protovalidate.Validate(message); err != nil {
				t.Errorf("%s: %s: %v", method, data, err)
			}
		}
	}
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

// TestReasonsAreComplete: the enum has no reason that the parser missed.
func TestReasonsAreComplete(t *testing.T) {
	a, err := parse(os.DirFS(filepath.Join(root, "proto", "weft", "v1")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(a.reasons), len(weftv1.ErrorReason_name)-1; got != want {
		t.Errorf("%d reasons of %d", got, want)
	}
	methods := 0
	for _, s := range a.services {
		methods += len(s.methods)
	}
	if methods != len(examples) {
		t.Errorf("%d RPCs and %d examples", methods, len(examples))
	}
}

// findMethod finds weft.v1.Service/Method.
func findMethod(name string) (protoreflect.MethodDescriptor, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.Replace(name, "/", ".", 1)))
	if err != nil {
		return nil, err
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, protoregistry.NotFound
	}
	return m, nil
}

// empty returns an empty message of a type.
func empty(d protoreflect.MessageDescriptor) proto.Message { return dynamicpb.NewMessage(d) }
