package amid

import "sort"

// Gaps is the rule that finds lost events by their numbers, so that no loss is silent. It knows no socket.
//
// The epoch changes with each event session and only grows; seq counts a server's events within an epoch; nth counts them
// per name, so that a subscriber to some names, who sees holes in seq by design, can check too. A tick states the last of
// each, so that loss at the end of a quiet stream shows.
//
// Give Event each event and Tick each tick, in the order they come.
type Gaps struct {
	names []string
	all   bool
	seen  map[string]*seen
}

// NewGaps makes the rule for a subscriber to these names; nil is all of them.
func NewGaps(names []string) *Gaps {
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	return &Gaps{names: sorted, all: names == nil, seen: map[string]*seen{}}
}

// seen is what is remembered of one server.
type seen struct {
	epoch, seq, base int64
	// counted is whether the count of every name is known, from a tick or because the epoch began before our eyes.
	counted bool
	nths    map[string]int64
	seqs    map[string]int64
}

func newSeen(epoch, seq int64, counts map[string]int64) *seen {
	nths := map[string]int64{}
	for name, count := range counts {
		nths[name] = count
	}
	return &seen{epoch: epoch, seq: seq, base: seq, counted: counts != nil, nths: nths, seqs: map[string]int64{}}
}

// begun is an epoch that began before our eyes: nothing of it has been seen, and all of it counts.
func begun(epoch int64) *seen {
	return newSeen(epoch, 0, map[string]int64{})
}

func (s *seen) take(event *Event) {
	if event.Seq > s.seq {
		s.seq = event.Seq
	}
	s.seqs[event.Event] = event.Seq
	s.nths[event.Event] = event.Nth
}

// nth is the last one of this name. otherwise is for a name whose count is not known.
func (s *seen) nth(name string, otherwise int64) int64 {
	if nth, ok := s.nths[name]; ok {
		return nth
	}
	if s.counted {
		return 0
	}
	return otherwise
}

// after is behind which number the next event of this name comes; those of other names may have come since.
func (s *seen) after(name string) int64 {
	if seq, ok := s.seqs[name]; ok {
		return seq
	}
	return s.base
}

// beyond is whether it has this tick already.
func (s *seen) beyond(tick *Tick) bool {
	return tick.Epoch < s.epoch || (tick.Epoch == s.epoch && tick.Seq < s.seq)
}

// Event takes an event: whether it is new, and the gaps before it.
func (g *Gaps) Event(event *Event) (bool, []*Gap) {
	known := g.seen[event.Server]
	if known != nil && !g.fresh(event, known) {
		return false, nil
	}
	gaps := g.beforeEvent(event)
	switch {
	case known == nil:
		known = newSeen(event.Epoch, event.Seq, nil)
	case known.epoch != event.Epoch:
		known = begun(event.Epoch)
	}
	g.seen[event.Server] = known
	known.take(event)
	return true, gaps
}

// Tick takes a tick: what it shows to be missing. It replaces all that is remembered of its server, since everything up to
// its seq has been published.
func (g *Gaps) Tick(tick *Tick) []*Gap {
	gaps := g.beforeTick(tick)
	if known := g.seen[tick.Server]; known == nil || !known.beyond(tick) {
		g.seen[tick.Server] = newSeen(tick.Epoch, tick.Seq, tick.Counts)
	}
	return gaps
}

// before is what this message, when it is the next to be taken, shows to be missing; it takes nothing.
func (g *Gaps) before(next message) []*Gap {
	if tick, ok := next.(*Tick); ok {
		return g.beforeTick(tick)
	}
	return g.beforeEvent(next.(*Event))
}

// widened is, with names only, the gap from where nothing of any name is missing. What was lost of the others lies there too.
func (g *Gaps) widened(gap *Gap) *Gap {
	known := g.seen[gap.Server]
	if g.all || known == nil || known.epoch != gap.Epoch {
		return gap
	}
	wide := *gap
	for _, name := range g.names {
		if after := known.after(name); after < wide.After {
			wide.After = after
		}
	}
	return &wide
}

// fresh: with names only, each name is a stream of its own; of one a lost event may be fetched when another's has come.
func (g *Gaps) fresh(event *Event, known *seen) bool {
	if event.Epoch != known.epoch {
		return event.Epoch > known.epoch
	}
	if g.all {
		return event.Seq > known.seq
	}
	return event.Seq > known.after(event.Event)
}

func (g *Gaps) beforeEvent(event *Event) []*Gap {
	known := g.seen[event.Server]
	if known == nil || !g.fresh(event, known) {
		return nil
	}
	if event.Epoch == known.epoch {
		return g.lostBeforeEvent(event, known)
	}
	return append([]*Gap{ended(event.Server, known)}, g.lostBeforeEvent(event, begun(event.Epoch))...)
}

func (g *Gaps) beforeTick(tick *Tick) []*Gap {
	known := g.seen[tick.Server]
	if known == nil || known.beyond(tick) {
		return nil
	}
	if tick.Epoch == known.epoch {
		return g.lostBeforeTick(tick, known)
	}
	return append([]*Gap{ended(tick.Server, known)}, g.lostBeforeTick(tick, begun(tick.Epoch))...)
}

func (g *Gaps) lostBeforeEvent(event *Event, known *seen) []*Gap {
	until := event.Seq - 1
	if g.all {
		return lost(event.Server, event.Epoch, known.seq, until, until-known.seq, "")
	}
	name := event.Event
	missed := event.Nth - known.nth(name, event.Nth-1) - 1
	return lost(event.Server, event.Epoch, known.after(name), until, missed, name)
}

func (g *Gaps) lostBeforeTick(tick *Tick, known *seen) []*Gap {
	if g.all {
		return lost(tick.Server, tick.Epoch, known.seq, tick.Seq, tick.Seq-known.seq, "")
	}
	var gaps []*Gap
	for _, name := range g.names {
		count := tick.Counts[name]
		missed := count - known.nth(name, count)
		gaps = append(gaps, lost(tick.Server, tick.Epoch, known.after(name), tick.Seq, missed, name)...)
	}
	return gaps
}

func lost(server string, epoch, after, until, missed int64, name string) []*Gap {
	if missed <= 0 {
		return nil
	}
	return []*Gap{{Server: server, Epoch: epoch, After: after, Until: &until, Missed: &missed, Event: name}}
}

// ended: what came behind the last number of an old epoch, and how much it was, cannot be known.
func ended(server string, known *seen) *Gap {
	return &Gap{Server: server, Epoch: known.epoch, After: known.seq}
}
