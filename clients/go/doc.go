// Package amid is a client of amid, the daemon that gives every program RPC and events of an Asterisk PBX.
//
//	client := amid.New("")
//	defer client.Close()
//	answer, err := client.Action(ctx, "QueueStatus", amid.Map{"Queue": "support"}, amid.Options{})
//	events, err := client.Events(ctx, []string{"Hangup"}, "")
//	item, err := events.Next(ctx)
//
// What goes over the sockets is in clients/README.md. ZeroMQ is used through cgo (pkg-config libzmq).
package amid
