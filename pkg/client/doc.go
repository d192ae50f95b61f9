// Package client is Weft's client: it submits tasks to a broker and gives futures of their outcomes.
//
// A [Client] is a connection. A [Call] is a group of tasks on one stream, which comes back by itself
// when it is cut; [MapSpecs] is a call over a sequence of inputs. A [Queue] has the operations of Python's
// queue.Queue. Single tasks and workers have methods on the client.
//
//	c, err := client.Dial("")
//	if err != nil { … }
//	defer c.Close()
//	call := c.NewCall()
//	defer call.Close()
//	future, err := call.Submit(ctx, client.Spec{Kind: "thumb", Payload: task.Text("cat.png")})
//	if err != nil { … }
//	outcome, err := future.Wait(ctx)
//
// # How a call survives
//
// Every task has an index in its call, and every index is in one of these states:
//
//	queued ──▶ sent ──▶ accepted ──▶ resolved ──▶ settled
//	   ▲        │
//	   └────────┘ the stream was cut before the broker had it
//
// A new stream says what is settled; the broker answers with what it has accepted, and sends the
// outcomes of the rest. So the client sends again exactly what did not arrive, drops an outcome that it
// has seen, and loses nothing.
package client
