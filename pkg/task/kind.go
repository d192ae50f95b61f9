package task

import (
	"fmt"
	"regexp"
)

// CommandKind is the kind of tasks that are programs to run.
const CommandKind = "command"

var kindName = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,256}$`)

// Kind is a sort of work with the types of its input and its result: what clients and workers share. Both
// programs define it, best in a package that both import. The zero Kind is none: everything that takes one refuses it.
type Kind[In, Out any] struct {
	name string
	in   Codec[In]
	out  Codec[Out]
}

// Define is a kind whose input and result travel as JSON. It panics if the name is not 1 to 256 bytes of
// [A-Za-z0-9._/-], or is [CommandKind].
//
// Nothing but the name says that two programs mean the same types: fields that one side does not know are passed over,
// so that a rolling upgrade may add some, and a mistaken type is read as zeros without a word. Where that would be worse
// than an upgrade in order (readers before writers), define the kind with [StrictJSON]:
//
//	var Thumb = task.DefineWith("thumb", task.StrictJSON[Photo](), task.StrictJSON[Size]())
func Define[In, Out any](name string) Kind[In, Out] {
	return DefineWith(name, JSONCodec[In](), JSONCodec[Out]())
}

// DefineWith is a kind with codecs of its own, from which the types follow. It panics as [Define] does, and
// without a codec.
func DefineWith[In, Out any](name string, in Codec[In], out Codec[Out]) Kind[In, Out] {
	switch {
	case !kindName.MatchString(name):
		panic(fmt.Sprintf("task: the kind %q: a name has 1 to 256 bytes of A-Z a-z 0-9 . _ / -", name))
	case name == CommandKind:
		panic(fmt.Sprintf("task: the kind %q is that of commands", name))
	case in == nil || out == nil:
		panic(fmt.Sprintf("task: the kind %q has no codec", name))
	}
	return Kind[In, Out]{name: name, in: in, out: out}
}

// Raw is a kind whose input and result are payloads as they are.
func Raw(name string) Kind[Payload, Payload] { return DefineWith(name, RawCodec(), RawCodec()) }

// Name is the kind's name.
func (k Kind[In, Out]) Name() string { return k.name }

// EncodeInput makes an input a payload.
func (k Kind[In, Out]) EncodeInput(in In) (Payload, error) {
	if k.name == "" {
		return Payload{}, errUndefined
	}
	p, err := k.in.Encode(in)
	if err != nil {
		return Payload{}, fmt.Errorf("task: the input of a task of kind %s: %w", k.name, err)
	}
	return p, nil
}

// DecodeInput reads an input.
func (k Kind[In, Out]) DecodeInput(p Payload) (in In, err error) {
	if k.name == "" {
		return in, errUndefined
	}
	if in, err = k.in.Decode(p); err != nil {
		err = &Error{
			Reason:    ReasonPayload,
			Message:   fmt.Sprintf("the input of a task of kind %s: %v", k.name, err),
			Permanent: true,
		}
	}
	return in, err
}

// EncodeOutput makes a result a payload.
func (k Kind[In, Out]) EncodeOutput(out Out) (Payload, error) {
	if k.name == "" {
		return Payload{}, errUndefined
	}
	p, err := k.out.Encode(out)
	if err != nil {
		return Payload{}, &Error{
			Reason:    ReasonPayload,
			Message:   fmt.Sprintf("the result of a task of kind %s: %v", k.name, err),
			Permanent: true,
		}
	}
	return p, nil
}

// DecodeOutput reads a result.
func (k Kind[In, Out]) DecodeOutput(p Payload) (out Out, err error) {
	if k.name == "" {
		return out, errUndefined
	}
	out, err = k.out.Decode(p)
	if err != nil {
		err = fmt.Errorf("task: the result of a task of kind %s: %w", k.name, err)
	}
	return out, err
}

var errUndefined = fmt.Errorf("task: a kind that was not made by Define")
