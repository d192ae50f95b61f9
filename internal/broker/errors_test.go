package broker

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// documented reads error.proto: the code in brackets that begins each reason's comment.
func documented(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../../proto/weft/v1/error.proto")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	code := ""
	begins, value := regexp.MustCompile(`^  // \[([A-Z_]+)\]`), regexp.MustCompile(`^  ERROR_REASON_([A-Z_]+) = (\d+);`)
	for line := range strings.Lines(string(data)) {
		if m := begins.FindStringSubmatch(line); m != nil {
			code = m[1]
		}
		if m := value.FindStringSubmatch(line); m != nil {
			if m[2] != "0" {
				out[m[1]] = code
			}
			code = ""
		}
	}
	return out
}

// codeWord is a code as the documentation spells it.
func codeWord(c codes.Code) string {
	return strings.ToUpper(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(c.String(), "${1}_$2"))
}

func TestEveryReasonHasItsDocumentedCode(t *testing.T) {
	docs := documented(t)
	if len(docs) != len(weftv1.ErrorReason_name)-1 || len(docs) != len(reasonCodes) {
		t.Errorf("%d reasons are documented, %d defined, %d have codes", len(docs), len(weftv1.ErrorReason_name)-1, len(reasonCodes))
	}
	for name, want := range docs {
		code, ok := reasonCodes[pure.Reason(name)]
		if !ok || codeWord(code) != want {
			t.Errorf("%s is documented as [%s] and has %v", name, want, code)
		}
		if reasonEnum(pure.Reason(name)) == weftv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			t.Errorf("%s is not in the API", name)
		}
	}
}

// refusal is an error as a client sees it.
type refusal struct {
	code   codes.Code
	reason string
	meta   map[string]string
}

// refused reads an error that a service returned, which has to carry exactly one ErrorInfo whose reason
// belongs to its code.
func refused(t testing.TB, err error) refusal {
	t.Helper()
	st, ok := status.FromError(err)
	if !ok || err == nil {
		t.Fatalf("%v is no refusal", err)
	}
	details := st.Details()
	if len(details) != 1 {
		t.Fatalf("%v has %d details", err, len(details))
	}
	info, ok := details[0].(*errdetails.ErrorInfo)
	if !ok || info.GetDomain() != errorDomain || reasonCodes[pure.Reason(info.GetReason())] != st.Code() || st.Message() == "" {
		t.Fatalf("%v has %v", err, details[0])
	}
	return refusal{st.Code(), info.GetReason(), info.GetMetadata()}
}

// wantRefusal holds an error against a reason and pairs of metadata.
func wantRefusal(t testing.TB, err error, reason pure.Reason, meta ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was accepted, not refused with %s %v", reason, meta)
	}
	got := refused(t, err)
	if got.reason != string(reason) {
		t.Fatalf("%v: %s %v, want %s", err, got.reason, got.meta, reason)
	}
	for i := 0; i+1 < len(meta); i += 2 {
		if got.meta[meta[i]] != meta[i+1] {
			t.Fatalf("%v: %s is %q, want %q", err, meta[i], got.meta[meta[i]], meta[i+1])
		}
	}
}

func TestUnexpectedErrorsHaveAReason(t *testing.T) {
	wantRefusal(t, statusError(os.ErrClosed), pure.Internal)
}
