package amid

import (
	"context"
	"errors"
	"sync"
	"time"
)

// handover is how long a request may take until it is with a broker.
const handover = time.Second

// Client is a connection to the daemon. Nothing is opened before the first call.
//
// Every method gives an *Error, whose Kind says what happened and whose Sent whether Asterisk may have seen the action; or,
// when the context ends first, the context's error: then it is not known. No action is ever sent a second time. A call ends
// two seconds after its own timeout at the latest. Many goroutines may call at once: a call borrows a socket of its own,
// and a slow one holds up no other.
type Client struct {
	runDir string
	lock   sync.Mutex
	lastID int64
	idle   []*dealer
}

type dealer struct {
	endpoint string
	socket   *socket
}

// Options of a call. The zero value is the only server there is, and 5 s.
type Options struct {
	Server  string
	Timeout time.Duration
	// Until is the name of a later event with the action's ActionID to wait for as well.
	Until string
}

// New makes a client of the daemon in runDir; "" is $AMID_RUN_DIR, or without it the first of /run/amid and
// $XDG_RUNTIME_DIR/amid that holds its socket.
func New(runDir string) *Client {
	return &Client{runDir: runDir}
}

// Action sends an action and waits for its whole answer: "response", "events", "complete", "output", "until", "elapsed" and
// more, as clients/README.md says. A field is text, a []byte, a number or a bool, or a list of them for a repeated header.
func (c *Client) Action(ctx context.Context, name string, fields Map, options Options) (Map, error) {
	if fields == nil {
		fields = Map{}
	}
	params := options.params()
	params["action"], params["fields"] = name, fields
	if options.Until != "" {
		params["until"] = options.Until
	}
	return c.callForMap(ctx, "action", params, options.Timeout)
}

// Command gives the output lines of an Asterisk CLI command; one that is not UTF-8 is a []byte.
func (c *Client) Command(ctx context.Context, line string, options Options) ([]any, error) {
	answer, err := c.Action(ctx, "Command", Map{"Command": line}, options)
	output, _ := answer["output"].([]any)
	return output, err
}

// Servers gives of each server "name", "state", "epoch", endpoints, lanes and more.
func (c *Client) Servers(ctx context.Context) ([]Map, error) {
	return c.callForMaps(ctx, "servers", Map{}, 0)
}

// Status gives servers, processes, counters, version and uptime of the daemon.
func (c *Client) Status(ctx context.Context) (Map, error) {
	return c.callForMap(ctx, "status", Map{}, 0)
}

// Actions gives "name", "synopsis" and "privilege" of each action that this Asterisk offers.
func (c *Client) Actions(ctx context.Context, options Options) ([]Map, error) {
	return c.callForMaps(ctx, "actions", options.params(), options.Timeout)
}

// Replay gives events once more, from the first behind number after, at most limit of them, and whether there are more. 0
// is before the first. Kind "gone": they are no longer held; Oldest is the first number that is. Events does it by itself.
func (c *Client) Replay(
	ctx context.Context, server string, epoch, after, limit int64, timeout time.Duration,
) ([]*Event, bool, error) {
	params := Options{Server: server, Timeout: timeout}.params()
	params["epoch"], params["after"], params["limit"] = epoch, after, limit
	answer, err := c.callForMap(ctx, "replay", params, timeout)
	if err != nil {
		return nil, false, err
	}
	var events []*Event
	bodies, _ := answer["events"].([]any)
	for _, one := range bodies {
		body, _ := one.(Map)
		events = append(events, eventOf(body))
	}
	more, _ := answer["more"].(bool)
	return events, more, nil
}

// Restart replaces a server's reader.
func (c *Client) Restart(ctx context.Context, server string) (Map, error) {
	return c.callForMap(ctx, "restart", Map{"server": server}, 0)
}

// Ping asks the daemon, not Asterisk, for a sign of life.
func (c *Client) Ping(ctx context.Context) (Map, error) {
	return c.callForMap(ctx, "ping", Map{}, 0)
}

// Call is any method of the daemon's, for one that is newer than this client. The timeout is how long to wait, 5 s when it
// is 0; this does not tell the daemon.
func (c *Client) Call(ctx context.Context, method string, params Map, timeout time.Duration) (any, error) {
	asked, err := newCall(c.nextID(), method, params, timeout)
	if err != nil {
		return nil, err
	}
	borrowed, err := c.borrow()
	if err != nil {
		return nil, err
	}
	reply, err := borrowed.ask(ctx, asked)
	if err != nil {
		borrowed.socket.close() // so that an answer that comes late goes to nobody
		return nil, err
	}
	c.giveBack(borrowed)
	if failure, ok := reply["error"].(Map); ok {
		return nil, errorOf(failure)
	}
	return reply["result"], nil
}

// Events subscribes to the events with these names, or to all when there are none; server "" is all that the daemon has
// now. The subscription is in effect when this returns.
func (c *Client) Events(ctx context.Context, names []string, server string) (*Events, error) {
	listed, err := c.Servers(ctx)
	if err != nil {
		return nil, err
	}
	feed, err := newFeed(listed, names, server)
	if err != nil {
		return nil, err
	}
	return newEvents(ctx, c, feed)
}

// Close closes every socket that no call is using; the client may be used again.
func (c *Client) Close() {
	c.lock.Lock()
	idle := c.idle
	c.idle = nil
	c.lock.Unlock()
	for _, one := range idle {
		one.socket.close()
	}
}

func (o Options) params() Map {
	params := Map{}
	if o.Server != "" {
		params["server"] = o.Server
	}
	if o.Timeout != 0 {
		params["timeout"] = o.Timeout.Seconds()
	}
	return params
}

func (c *Client) callForMap(ctx context.Context, method string, params Map, timeout time.Duration) (Map, error) {
	result, err := c.Call(ctx, method, params, timeout)
	answer, _ := result.(Map)
	return answer, err
}

func (c *Client) callForMaps(ctx context.Context, method string, params Map, timeout time.Duration) ([]Map, error) {
	result, err := c.Call(ctx, method, params, timeout)
	list, _ := result.([]any)
	answers := make([]Map, 0, len(list))
	for _, one := range list {
		answer, _ := one.(Map)
		answers = append(answers, answer)
	}
	return answers, err
}

func (c *Client) nextID() int64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.lastID++
	return c.lastID
}

func (c *Client) borrow() (*dealer, error) {
	c.lock.Lock()
	if last := len(c.idle) - 1; last >= 0 {
		borrowed := c.idle[last]
		c.idle = c.idle[:last]
		c.lock.Unlock()
		return borrowed, nil
	}
	c.lock.Unlock()
	endpoint, err := find(c.runDir)
	if err != nil {
		return nil, err
	}
	made, err := newDealer(endpoint)
	if err != nil {
		return nil, nobodyAt(err.Error())
	}
	return &dealer{endpoint, made}, nil
}

func (c *Client) giveBack(borrowed *dealer) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.idle = append(c.idle, borrowed)
}

// ask gives the reply. A DEALER sends the empty frame before a request itself.
func (d *dealer) ask(ctx context.Context, asked *call) (Map, error) {
	taken, err := d.socket.handOver(ctx, [][]byte{{}, asked.request}, time.Now().Add(handover))
	if err != nil {
		return nil, err
	}
	if !taken {
		return nil, nobodyAt(d.endpoint)
	}
	deadline := time.Now().Add(asked.patience)
	for time.Now().Before(deadline) {
		body, err := d.socket.receive(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if reply := asked.reply(body); body != nil && reply != nil {
			return reply, nil
		}
	}
	return nil, asked.noAnswer(d.endpoint)
}

// as is the *Error in err, or nil.
func as(err error) *Error {
	var found *Error
	if errors.As(err, &found) {
		return found
	}
	return nil
}
