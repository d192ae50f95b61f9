package cli

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// dataBytesMax bounds a text or bytes.
const dataBytesMax = 64 << 10

// dataType is the type of a value.
type dataType string

const (
	typeAny    dataType = "" // by what it looks like
	typeBool   dataType = "bool"
	typeInt64  dataType = "int64"
	typeDouble dataType = "double"
	typeString dataType = "string"
	typeBytes  dataType = "bytes"
)

var dataTypes = []string{string(typeInt64), string(typeDouble), string(typeBool), string(typeString), string(typeBytes)}

// String implements pflag.Value.
func (t *dataType) String() string { return string(*t) }

// Type implements pflag.Value.
func (t *dataType) Type() string { return "type" }

// Set implements pflag.Value.
func (t *dataType) Set(s string) error {
	if !slices.Contains(dataTypes, s) {
		return errors.New("none of " + strings.Join(dataTypes, ", "))
	}
	*t = dataType(s)
	return nil
}

// typeOf is the type of what a value holds; typeAny if that is nothing.
func typeOf(d *weftv1.Data) dataType {
	switch d.GetData().(type) {
	case *weftv1.Data_BoolValue:
		return typeBool
	case *weftv1.Data_Int64Value:
		return typeInt64
	case *weftv1.Data_DoubleValue:
		return typeDouble
	case *weftv1.Data_StringValue:
		return typeString
	case *weftv1.Data_BytesValue:
		return typeBytes
	}
	return typeAny
}

// decimal is what looks like a number that is not whole.
var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// looksLike is the type of an argument that is told by nothing else.
func looksLike(text string) dataType {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return typeInt64
	}
	switch {
	case decimal.MatchString(text):
		return typeDouble
	case text == "true" || text == "false":
		return typeBool
	case !utf8.ValidString(text):
		return typeBytes
	}
	return typeString
}

// parseData reads an argument as a value of a type.
func parseData(what, text string, t dataType) (*weftv1.Data, error) {
	if t == typeAny {
		t = looksLike(text)
	}
	bad := func(rule string) error {
		return Usage("%s %s: not %s, and the type is %s", what, shorten(text), rule, t)
	}
	switch t {
	case typeBool:
		if text != "true" && text != "false" {
			return nil, bad("true or false")
		}
		return &weftv1.Data{Data: &weftv1.Data_BoolValue{BoolValue: text == "true"}}, nil
	case typeInt64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, bad("a whole number of 64 bits")
		}
		return &weftv1.Data{Data: &weftv1.Data_Int64Value{Int64Value: n}}, nil
	case typeDouble:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) {
			return nil, bad("a number of 64 bits")
		}
		return &weftv1.Data{Data: &weftv1.Data_DoubleValue{DoubleValue: x}}, nil
	case typeString:
		if !utf8.ValidString(text) {
			return nil, bad("UTF-8")
		}
	}
	if len(text) > dataBytesMax {
		return nil, Usage("%s: %d bytes, at most %d are possible", what, len(text), dataBytesMax)
	}
	if t == typeBytes {
		return &weftv1.Data{Data: &weftv1.Data_BytesValue{BytesValue: []byte(text)}}, nil
	}
	return &weftv1.Data{Data: &weftv1.Data_StringValue{StringValue: text}}, nil
}

// readData reads standard input for the argument "-".
func (a *App) readData(text string) (string, error) {
	if text != "-" {
		return text, nil
	}
	data, err := io.ReadAll(io.LimitReader(a.In, dataBytesMax+1))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	if len(data) > dataBytesMax {
		return "", Usage("standard input: more than %d bytes, which is the most that is possible", dataBytesMax)
	}
	return string(data), nil
}

// dataText is what a value holds, for people and for scripts.
func dataText(d *weftv1.Data) string {
	switch x := d.GetData().(type) {
	case *weftv1.Data_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *weftv1.Data_Int64Value:
		return strconv.FormatInt(x.Int64Value, 10)
	case *weftv1.Data_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *weftv1.Data_StringValue:
		return x.StringValue
	case *weftv1.Data_BytesValue:
		return string(x.BytesValue)
	}
	return ""
}

// cellText is the same in a table.
func cellText(d *weftv1.Data) string {
	if b, ok := d.GetData().(*weftv1.Data_BytesValue); ok {
		const most = 24
		text := base64.StdEncoding.EncodeToString(b.BytesValue[:min(len(b.BytesValue), most)])
		if len(b.BytesValue) > most {
			text += "…"
		}
		return text
	}
	return shorten(dataText(d))
}

// parseGuard reads --guard: LOCK, with the token in the environment, or LOCK:TOKEN.
func parseGuard(text string) (*weftv1.Guard, error) {
	if text == "" {
		return nil, nil
	}
	lock, token, given := strings.Cut(text, ":")
	if !given {
		token = os.Getenv(client.EnvFence)
	}
	n, err := strconv.ParseUint(token, 10, 64)
	switch {
	case !plainName(lock):
		return nil, Usage("--guard %s: not LOCK or LOCK:TOKEN; a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(text))
	case token == "" && !given:
		return nil, Usage("--guard %s: by which token? It is in $%s within weft lock; else --guard %s:TOKEN", lock, client.EnvFence, lock)
	case err != nil || n == 0:
		return nil, Usage("--guard %s: %s is not a token, which is a number from 1 on", lock, cmp.Or(shorten(token), "nothing"))
	}
	return &weftv1.Guard{Lock: lock, Token: n}, nil
}
