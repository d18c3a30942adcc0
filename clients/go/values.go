package amid

import "fmt"

// Item is what a subscriber gets: an *Event or a *Gap.
type Item interface{ item() }

// Event is an event of Asterisk's, or one of amid's own, whose name begins with "amid:".
type Event struct {
	Server string
	// Epoch is the event session, Seq the event's number within it, from 1, Nth its number among the events of its name.
	Epoch, Seq, Nth int64
	// Time is when the daemon read it, in seconds since 1970.
	Time  float64
	Event string
	// Fields has every header but Event.
	Fields Map
}

// Gap stands for events that this subscriber did not get. They lie behind number After and not behind number Until of Epoch.
type Gap struct {
	Server       string
	Epoch, After int64
	// Until and Missed are nil at the end of an old epoch, where nobody knows them.
	Until, Missed *int64
	// Event is the events' name, when only some names are subscribed; else "".
	Event string
}

// Tick comes once a second: everything up to number Seq has been published. Counts has the last nth of each name.
type Tick struct {
	Server     string
	Epoch, Seq int64
	Counts     map[string]int64
}

func (*Event) item() {}
func (*Gap) item()   {}

func (g *Gap) String() string {
	if g.Missed == nil {
		return fmt.Sprintf("%s: events may be missing after number %d: the event session was replaced", g.Server, g.After)
	}
	return fmt.Sprintf("%s: %d events missing after number %d", g.Server, *g.Missed, g.After)
}

// message is an *Event or a *Tick.
type message interface{ server() string }

func (e *Event) server() string { return e.Server }
func (t *Tick) server() string  { return t.Server }

// MessageOf is the *Event or *Tick in a body. Members that are not known are left alone.
func MessageOf(body Map) message {
	if text(body["event"]) == tickName {
		return tickOf(body)
	}
	return eventOf(body)
}

func eventOf(body Map) *Event {
	fields, _ := body["fields"].(Map)
	return &Event{
		Server: text(body["server"]),
		Epoch:  integer(body["epoch"]),
		Seq:    integer(body["seq"]),
		Nth:    integer(body["nth"]),
		Time:   number(body["time"]),
		Event:  text(body["event"]),
		Fields: fields,
	}
}

func tickOf(body Map) *Tick {
	counts := map[string]int64{}
	stated, _ := body["counts"].(Map)
	for name, count := range stated {
		counts[name] = integer(count)
	}
	return &Tick{Server: text(body["server"]), Epoch: integer(body["epoch"]), Seq: integer(body["seq"]), Counts: counts}
}
