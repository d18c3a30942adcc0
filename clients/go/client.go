// Package amid is a client of amid, the daemon that gives every program RPC and events of an Asterisk PBX.
//
//	client := amid.New("")
//	answer, err := client.Action(ctx, "QueueStatus", amid.Map{"Queue": "support"}, amid.Options{})
//	events, err := client.Events(ctx, "pbx1", "Hangup")
//	item, err := events.Next(ctx)
//
// What goes over the socket is in clients/README.md. ZeroMQ is used through cgo (pkg-config libzmq).
package amid

import (
	"context"
	"sync"
	"time"
)

// Client is a connection to the daemon, for any number of goroutines. It opens nothing before the first call.
//
// Every method returns an *Error, whose Kind says what happened and whose Sent whether Asterisk may have received the action;
// or, when the context ends first, the context's error: the call is then cancelled. No action is ever sent a
// second time. A call ends two seconds after its own timeout at the latest.
type Client struct {
	runDir string
	lock   sync.Mutex
	idle   []*dealer
}

// Options of a call. The zero value is the only server there is, and 5 s. Until is the name of a later event with the action's
// ActionID to wait for as well.
type Options struct {
	Server, Until string
	Timeout       time.Duration
}

// New returns a client of the daemon in runDir; "" is $AMID_RUN_DIR, or without it the first of /run/amid and
// $XDG_RUNTIME_DIR/amid that holds its socket.
func New(runDir string) *Client { return &Client{runDir: runDir} }

// Action sends an action and returns its whole answer: "response", "events", "complete", "output", "until", "elapsed" and
// more, as clients/README.md says. A field is text, a []byte, a number or a bool, or a list of them for a repeated header.
func (c *Client) Action(ctx context.Context, name string, fields Map, options Options) (Map, error) {
	params := options.params()
	params["action"], params["fields"] = name, fields
	return c.one(ctx, "action", params, options.Timeout)
}

// Servers returns of each server "name", "state", "epoch", endpoints, lanes and more.
func (c *Client) Servers(ctx context.Context) ([]Map, error) { return c.many(ctx, "servers", nil, 0) }

// Status returns servers, processes, counters, version and uptime of the daemon.
func (c *Client) Status(ctx context.Context) (Map, error) { return c.one(ctx, "status", nil, 0) }

// Actions returns "name", "synopsis" and "privilege" of each action that this Asterisk offers.
func (c *Client) Actions(ctx context.Context, options Options) ([]Map, error) {
	return c.many(ctx, "actions", options.params(), options.Timeout)
}

// State returns the live state of a PBX, with a list of the things of each of these kinds, or of every kind when there are none.
// where is nil or a condition such as "name=support", a []string of them, or a Map of member to value.
func (c *Client) State(ctx context.Context, where any, options Options, kinds ...string) (Map, error) {
	params := options.params()
	params["where"], params["kinds"] = where, kinds
	return c.one(ctx, "state", set(params), options.Timeout)
}

// Audit returns "records" of the audit trail behind number after, at most limit, for callers with admin.
func (c *Client) Audit(ctx context.Context, after, limit int64) (Map, error) {
	return c.one(ctx, "audit", Map{"after": after, "limit": limit}, 0)
}

// Restart replaces a server's reader.
func (c *Client) Restart(ctx context.Context, server string) (Map, error) {
	return c.one(ctx, "restart", Map{"server": server}, 0)
}

// Ping asks the daemon, not Asterisk, for a sign of life.
func (c *Client) Ping(ctx context.Context) (Map, error) { return c.one(ctx, "ping", nil, 0) }

// Call is any method of the daemon, for one that is newer than this client. The timeout, 5 s when it is 0, is only this client's.
func (c *Client) Call(ctx context.Context, method string, params Map, timeout time.Duration) (any, error) {
	borrowed, err := c.borrow()
	if err != nil {
		return nil, err
	}
	reply, err := borrowed.ask(ctx, method, params, timeout)
	if err != nil {
		borrowed.close()
		return nil, err
	}
	c.lock.Lock()
	c.idle = append(c.idle, borrowed)
	c.lock.Unlock()
	if failure, ok := reply["error"].(Map); ok {
		return nil, errorOf(failure)
	}
	return reply["result"], nil
}

// borrow returns an idle dealer, or a new one.
func (c *Client) borrow() (*dealer, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if last := len(c.idle) - 1; last >= 0 {
		borrowed := c.idle[last]
		c.idle = c.idle[:last]
		return borrowed, nil
	}
	endpoint, err := findEndpoint(c.runDir)
	if err != nil {
		return nil, err
	}
	return newDealer(endpoint)
}

// Close closes every socket that no call is using; the client may be used again.
func (c *Client) Close() {
	c.lock.Lock()
	defer c.lock.Unlock()
	for ; len(c.idle) > 0; c.idle = c.idle[1:] {
		c.idle[0].close()
	}
}

func (o Options) params() Map {
	return set(Map{"server": o.Server, "timeout": o.Timeout.Seconds(), "until": o.Until})
}

// one calls a method whose result is a map, and many one whose result is a list of maps.
func (c *Client) one(ctx context.Context, method string, params Map, timeout time.Duration) (Map, error) {
	result, err := c.Call(ctx, method, params, timeout)
	return as[Map](result), err
}

func (c *Client) many(ctx context.Context, method string, params Map, timeout time.Duration) ([]Map, error) {
	result, err := c.Call(ctx, method, params, timeout)
	return maps(result), err
}
