package amid

import (
	"fmt"
	"strings"
	"time"
)

// feed is what a subscriber does with its messages, without a socket or a clock: give take each of them, and get events and
// gaps from next.
//
// What is missing is fetched once more before anything behind it is given out. While ask is not nil, events are missing:
// call Replay with it, and give fetched or refused what came of it, before the next message. What cannot be had comes as a
// gap in its place, so that no loss is silent.
type feed struct {
	names      []string
	servers    []Map
	awaited    map[string]bool
	rule       *Gaps
	recovery   recovery
	recovering bool
	inbox      []message
	ready      []Item

	missed, gaps, replayed int64
}

func newFeed(listed []Map, names []string, server string) (*feed, error) {
	if len(names) == 0 {
		names = nil
	}
	made := &feed{names: names, awaited: map[string]bool{}, rule: NewGaps(names)}
	var known []string
	for _, one := range listed {
		name := text(one["name"])
		known = append(known, name)
		if server != "" && server != name {
			continue
		}
		made.servers = append(made.servers, one)
		if text(one["state"]) == "up" {
			made.awaited[name] = true
		}
	}
	if len(made.servers) == 0 {
		what := fmt.Sprintf("there is no server %q; the daemon has: %s", server, strings.Join(known, ", "))
		return nil, &Error{Kind: "unknown_server", Message: what, Server: server}
	}
	return made, nil
}

// endpoints is where to subscribe.
func (f *feed) endpoints() []string {
	socket := "stream"
	if f.names != nil {
		socket = "events"
	}
	var endpoints []string
	for _, server := range f.servers {
		endpoints = append(endpoints, text(server[socket]))
	}
	return endpoints
}

// topics has the ticks last: the first tick then shows that all of them are in effect.
func (f *feed) topics() []string {
	var wanted, ticks []string
	for _, one := range f.servers {
		server := text(one["name"])
		ticks = append(ticks, "tick."+server+".")
		if f.names == nil {
			wanted = append(wanted, "stream."+server+".")
		}
		for _, name := range f.names {
			wanted = append(wanted, "event."+server+"."+name+".") // the final dot: ZeroMQ compares beginnings
		}
	}
	return append(wanted, ticks...)
}

// settled: every server that was up has ticked, so whatever it publishes from now on will come.
func (f *feed) settled() bool {
	return len(f.awaited) == 0
}

// take takes the second frame of a message that came.
func (f *feed) take(body []byte) error {
	value, err := Unpack(body)
	if err != nil {
		return err
	}
	bodies, _ := value.([]any)
	for _, one := range bodies {
		fields, _ := one.(Map)
		next := MessageOf(fields)
		if tick, ok := next.(*Tick); ok {
			delete(f.awaited, tick.Server)
		}
		f.inbox = append(f.inbox, next)
	}
	f.advance()
	return nil
}

func (f *feed) fetched(events []*Event, more bool) {
	for _, event := range f.recovery.page(events, more) {
		if f.takeEvent(event) {
			f.replayed++
		}
	}
	f.advance()
}

// refused: Replay did not give it. What the caller's own limit cut short is asked again.
func (f *feed) refused(err *Error, limit time.Duration) {
	if err.Kind == "timeout" && limit < defaultTimeout {
		return
	}
	f.recovery.refused(err)
	f.advance()
}

// next is the next item; nil when there is none.
func (f *feed) next() Item {
	if len(f.ready) == 0 {
		return nil
	}
	item := f.ready[0]
	f.ready = f.ready[1:]
	return item
}

// advance takes what came, up to where something is missing that may still be had.
func (f *feed) advance() {
	for len(f.inbox) > 0 && f.recovery.ask() == nil {
		if f.recovers() {
			continue
		}
		next := f.inbox[0]
		f.inbox = f.inbox[1:]
		f.takeMessage(next)
	}
}

// recovers is whether something is missing before the next message that was not asked for yet. Then it is now; what has not
// come when that is over will not come.
func (f *feed) recovers() bool {
	if f.recovering {
		f.recovering = false
		return false
	}
	var missing []*Gap
	for _, gap := range f.rule.before(f.inbox[0]) {
		missing = append(missing, f.rule.widened(gap))
	}
	f.recovery.recover(missing)
	f.recovering = len(missing) > 0
	return f.recovering
}

func (f *feed) takeMessage(next message) {
	if event, ok := next.(*Event); ok {
		f.takeEvent(event)
		return
	}
	f.giveGaps(f.rule.Tick(next.(*Tick)))
}

// takeEvent is whether it is one that was asked for and is new.
func (f *feed) takeEvent(event *Event) bool {
	if f.names != nil && !contains(f.names, event.Event) {
		return false
	}
	fresh, gaps := f.rule.Event(event)
	f.giveGaps(gaps)
	if fresh {
		f.ready = append(f.ready, event)
	}
	return fresh
}

func (f *feed) giveGaps(gaps []*Gap) {
	for _, gap := range gaps {
		f.gaps++
		if gap.Missed != nil {
			f.missed += *gap.Missed
		}
		f.ready = append(f.ready, gap)
	}
}

func contains(names []string, wanted string) bool {
	for _, name := range names {
		if name == wanted {
			return true
		}
	}
	return false
}
