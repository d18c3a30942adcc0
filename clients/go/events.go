package amid

import (
	"context"
	"time"
)

// transient are the errors that may be over in a moment.
var transient = map[string]bool{"unreachable": true, "not_connected": true, "busy": true, "timeout": true, "connection_lost": true}

// Item is an *Event or a *Gap.
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

func (*Event) item() {}
func (*Gap) item()   {}

func eventOf(body Map) *Event {
	made := &Event{Server: text(body["server"]), Cursor: cursorOf(body), Prev: integer(body["prev"]), Event: text(body["event"])}
	made.Time, _ = body["time"].(float64)
	made.Fields, _ = body["fields"].(Map)
	return made
}

func cursorOf(body Map) Cursor { return Cursor{integer(body["epoch"]), integer(body["seq"])} }

// Events of a server, in order and each once, also over the restart of a reader or of the daemon, and a *Gap where the daemon no
// longer holds what was missed. For one goroutine.
type Events struct {
	client *Client
	query  Map
	pages  chan []Item // while this program works on one, the daemon works on the next
	ready  []Item
	err    error // why pages is closed
	cancel context.CancelFunc
}

// Events begins to follow the events with these names, or all when there are none; server "" is the only one there is. Whatever
// comes once this has returned is given, until the context ends or Close is called.
func (c *Client) Events(ctx context.Context, server string, names ...string) (*Events, error) {
	ctx, cancel := context.WithCancel(ctx)
	made := &Events{client: c, query: Options{Server: server}.params(), pages: make(chan []Item), cancel: cancel}
	if len(names) > 0 {
		made.query["names"] = names
	}
	first, err := made.pull(ctx, 0)
	if failed, _ := err.(*Error); err != nil && (!isTransient(err) || failed.Kind == "unreachable") {
		cancel()
		return nil, err
	}
	made.ready = first // a server whose reader is away begins when it is back
	go made.run(ctx)
	return made, nil
}

// Next returns the next *Event or *Gap. When its context ends first it returns the context's error; the events stay open, and
// Next may be called again. When the events have ended it returns the error of their context, or why the daemon refused them.
func (e *Events) Next(ctx context.Context) (Item, error) {
	for len(e.ready) == 0 {
		select {
		case items, ok := <-e.pages:
			if !ok {
				return nil, e.err
			}
			e.ready = items
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	item := e.ready[0]
	e.ready = e.ready[1:]
	return item, nil
}

// Close ends the events.
func (e *Events) Close() { e.cancel() }

func (e *Events) run(ctx context.Context) {
	defer close(e.pages)
	for {
		items, err := e.pull(ctx, pullTimeout)
		if err != nil && !isTransient(err) {
			e.err = err
			return
		}
		pages, again := e.pages, (<-chan time.Time)(nil)
		if err != nil {
			pages, again = nil, time.After(retryDelay)
		}
		select {
		case pages <- items:
		case <-again:
		case <-ctx.Done(): // which the next pull reports
		}
	}
}

// pull returns what comes next.
func (e *Events) pull(ctx context.Context, timeout time.Duration) ([]Item, error) {
	e.query["timeout"] = timeout.Seconds()
	page, err := e.client.Pull(ctx, e.query, timeout)
	if err != nil {
		return nil, err
	}
	if e.query["after"] == nil {
		e.query["after"] = page
	}
	gap := &Gap{text(page["server"]), cursorOf(e.query["after"].(Map)), integer(page["missed"])}
	if page["missed"] == nil {
		gap.Missed = -1
	}
	var items []Item
	if gap.Missed != 0 {
		items = append(items, gap)
	}
	e.query["after"] = Map{"epoch": page["epoch"], "seq": page["seq"]}
	bodies, _ := maps(page["events"], nil)
	for _, body := range bodies {
		items = append(items, eventOf(body))
	}
	return items, nil
}

func isTransient(err error) bool {
	failed, ok := err.(*Error)
	return ok && transient[failed.Kind]
}
