package amid

import (
	"context"
	"time"
)

// transient are the errors that may be over in a moment.
var transient = map[string]bool{"unreachable": true, "not_connected": true, "busy": true, "timeout": true, "connection_lost": true}

// Item is an *Event or a *Gap, and of the live state a *Change.
type Item interface{ item() }

// Cursor is behind number Seq of the event session Epoch.
type Cursor struct{ Epoch, Seq int64 }

// Event is an event of Asterisk, or one of amid, whose name begins with "amid:". Prev is the Seq of the event of the same name
// before it in this epoch, Time when the daemon read it, in seconds since 1970. Fields has every header but Event.
type Event struct {
	Server string
	Cursor
	Prev   int64
	Time   float64
	Event  string
	Fields Map
}

// Gap stands for events that are missing behind After: how many, or -1 where the epoch ended, and nobody knows.
type Gap struct {
	Server string
	After  Cursor
	Missed int64
}

// Change is one thing of the live state: Set has the members with new values, or the thing is Gone. The first item, and the first
// one after a loss of changes, has the Kind "reset" and the whole State, as Client.State returns it, instead.
type Change struct {
	Server, Kind, ID string
	Gone             bool
	Set, State       Map
}

func (*Event) item()  {}
func (*Gap) item()    {}
func (*Change) item() {}

func itemOf(body Map) Item {
	server, name := as[string](body["server"]), as[string](body["event"])
	if kind := as[string](body["kind"]); kind != "" {
		return &Change{server, kind, as[string](body["id"]), as[bool](body["gone"]), as[Map](body["set"]), nil}
	}
	return &Event{server, cursorOf(body), Int(body["prev"]), as[float64](body["time"]), name, as[Map](body["fields"])}
}

func cursorOf(body Map) Cursor { return Cursor{Int(body["epoch"]), Int(body["seq"])} }

// Events of a server, in order and each once, also over the restart of a reader or of the daemon, and a *Gap where the daemon no
// longer holds what was missed; or the changes of its live state. For one goroutine.
type Events struct {
	client *Client
	query  Map
	items  chan Item // with room for a page: the daemon works on the next one while this program works on it
	err    error     // why items is closed
	cancel context.CancelFunc
}

// Events begins to follow the events with these names, or all when there are none; server "" is the only one there is. Whatever
// comes once this has returned is given, until the context ends or Close is called.
func (c *Client) Events(ctx context.Context, server string, names ...string) (*Events, error) {
	return c.follow(ctx, set(Map{"server": server, "names": names}))
}

// Changes is the same for the live state: the items are each a *Change of these kinds of things, such as "channels" and "calls".
func (c *Client) Changes(ctx context.Context, server string, kinds ...string) (*Events, error) {
	query := set(Map{"server": server})
	query["kinds"] = kinds
	return c.follow(ctx, query)
}

func (c *Client) follow(ctx context.Context, query Map) (*Events, error) {
	ctx, cancel := context.WithCancel(ctx)
	made := &Events{client: c, query: query, items: make(chan Item, 1000), cancel: cancel}
	first, err := made.pull(ctx, 0)
	if err != nil && (!isTransient(err) || err.(*Error).Kind == "unreachable") {
		cancel()
		return nil, err
	}
	go made.run(ctx, first) // a server whose reader is away begins when it is back
	return made, nil
}

// Next returns the next item. When its context ends first it returns the context's error; the events stay open, and
// Next may be called again. When the events have ended it returns the error of their context, or why the daemon refused them.
func (e *Events) Next(ctx context.Context) (Item, error) {
	select {
	case item, ok := <-e.items:
		if !ok {
			return nil, e.err
		}
		return item, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the events.
func (e *Events) Close() { e.cancel() }

func (e *Events) run(ctx context.Context, items []Item) {
	defer close(e.items)
	for e.err == nil {
		for n := 0; n < len(items) && ctx.Err() == nil; n++ {
			select {
			case e.items <- items[n]:
			case <-ctx.Done(): // which the next pull reports
			}
		}
		if items, e.err = e.pull(ctx, pullTimeout); isTransient(e.err) {
			time.Sleep(retryDelay)
			e.err = ctx.Err()
		}
	}
}

// pull returns what comes next. Changes begin, and after a loss begin again, with the whole state.
func (e *Events) pull(ctx context.Context, timeout time.Duration) ([]Item, error) {
	after, isState := as[Map](e.query["after"]), e.query["kinds"] != nil
	method := "events"
	if isState && after == nil {
		method, timeout = "state", stateTimeout
	}
	e.query["timeout"] = timeout.Seconds()
	page, err := e.client.one(ctx, method, e.query, timeout)
	if err != nil {
		return nil, err
	}
	cursor := Map{"epoch": page["epoch"], "seq": page["seq"]}
	if isState {
		cursor["rev"] = page["rev"]
	}
	e.query["after"] = cursor
	gap := &Gap{as[string](page["server"]), cursorOf(after), Int(page["missed"])}
	if page["missed"] == nil {
		gap.Missed = -1
	}
	var items []Item
	switch {
	case method == "state":
		items = append(items, &Change{Server: gap.Server, Kind: "reset", State: page})
	case gap.Missed != 0 && isState:
		delete(e.query, "after") // the whole state is next
	case gap.Missed != 0:
		items = append(items, gap)
	}
	for _, body := range maps(page["events"]) {
		items = append(items, itemOf(body))
	}
	return items, nil
}

func isTransient(err error) bool {
	failed, ok := err.(*Error)
	return ok && transient[failed.Kind]
}
