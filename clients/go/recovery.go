package amid

import "time"

const (
	page  = 1000                   // events asked for at a time
	tries = 8                      // how often a page is asked for when it is refused for now
	pause = 500 * time.Millisecond // between two such tries
)

// ask is what Replay is to be asked for.
type ask struct {
	server       string
	epoch, after int64
}

// recovery is which lost events to fetch once more, and when to stop asking. It knows no socket: it stands between Gaps,
// which sees a loss, and Replay. A gap becomes a range of numbers, asked for page by page, until it is whole or the daemon
// does not hold the rest. Where the daemon holds only the end of a range, it says which number is the oldest, and the
// asking goes on from there.
type recovery struct {
	ranges []*wanted
	pause  time.Duration
}

// wanted are numbers behind after and not behind until; nil is to the epoch's end.
type wanted struct {
	ask
	until *int64
	tries int
}

func (w *wanted) holds(seq int64) bool {
	return seq > w.after && (w.until == nil || seq <= *w.until)
}

func (w *wanted) whole() bool {
	return w.until != nil && w.after >= *w.until
}

// widen makes the range hold this gap too.
func (w *wanted) widen(gap *Gap) {
	if gap.After < w.after {
		w.after = gap.After
	}
	if w.until == nil || gap.Until == nil {
		w.until = nil
	} else if *gap.Until > *w.until {
		w.until = gap.Until
	}
}

// ask is what to ask for; nil when nothing is to be fetched.
func (r *recovery) ask() *ask {
	if len(r.ranges) == 0 {
		return nil
	}
	return &r.ranges[0].ask
}

// recover takes gaps. Those in several names of one epoch are one range, so that their events come in order.
func (r *recovery) recover(gaps []*Gap) {
	for _, gap := range gaps {
		if last := len(r.ranges) - 1; last >= 0 && r.ranges[last].server == gap.Server && r.ranges[last].epoch == gap.Epoch {
			r.ranges[last].widen(gap)
			continue
		}
		r.ranges = append(r.ranges, &wanted{ask{gap.Server, gap.Epoch, gap.After}, gap.Until, tries})
	}
}

// page takes what came of ask: those of the events that lie in the range.
func (r *recovery) page(events []*Event, more bool) []*Event {
	first := r.ranges[0]
	var held []*Event
	for _, event := range events {
		if first.holds(event.Seq) {
			held = append(held, event)
		}
	}
	if len(held) > 0 {
		first.after = held[len(held)-1].Seq
	}
	r.pause = 0
	if !more || len(held) == 0 || first.whole() {
		r.ranges = r.ranges[1:]
	}
	return held
}

// refused: nothing came of ask.
func (r *recovery) refused(err *Error) {
	first := r.ranges[0]
	cost, wait := costOf(err.Kind)
	r.pause = wait
	if err.Oldest > first.after+1 && first.holds(err.Oldest) {
		first.after, first.tries = err.Oldest-1, tries
		return
	}
	if first.tries -= cost; first.tries <= 0 {
		r.ranges = r.ranges[1:]
	}
}

// costOf is how many of its tries an error takes, and how long to wait before the next. What comes at once may be over in a
// moment: the reader or the broker may just have been replaced. A timeout may come twice, what would never change once.
func costOf(kind string) (int, time.Duration) {
	switch kind {
	case "not_connected", "busy", "unreachable":
		return 1, pause
	case "timeout":
		return tries / 2, 0
	}
	return tries, 0
}
