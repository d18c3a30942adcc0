//! The rule for gaps: the numbers on events and ticks, and what they show to be missing. It knows no socket and fetches nothing.

use crate::wire::{Event, Message, Tick};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Events that this subscriber did not get.
///
/// They lie behind number `after` and not behind number `until` of `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    pub server: String,
    pub epoch: u64,
    pub after: u64,
    /// None when it cannot be known, because the epoch ended.
    pub until: Option<u64>,
    /// How many; None when it cannot be known, because the epoch ended.
    pub missed: Option<u64>,
    /// Their name, when only some names are subscribed.
    pub event: Option<String>,
}

/// What came from one server so far.
struct Seen {
    epoch: u64,
    seq: u64,
    /// The last `nth` of each name.
    nths: HashMap<String, u64>,
    /// Whether the count of every name is known, from a tick or because the epoch began before our eyes.
    whole: bool,
    /// The seq at which it was.
    base: u64,
    /// The last seq of each name since.
    seqs: HashMap<String, u64>,
}

impl Seen {
    /// Nothing is known of what came up to here.
    fn from(epoch: u64, seq: u64) -> Seen {
        Seen {
            epoch,
            seq,
            nths: HashMap::new(),
            whole: false,
            base: seq,
            seqs: HashMap::new(),
        }
    }

    /// An epoch that began before our eyes: nothing of it has been seen, and all of it counts.
    fn begun(epoch: u64) -> Seen {
        Seen {
            whole: true,
            ..Seen::from(epoch, 0)
        }
    }

    fn at(tick: &Tick) -> Seen {
        Seen {
            nths: tick.counts.clone(),
            whole: true,
            ..Seen::from(tick.epoch, tick.seq)
        }
    }

    fn nth(&self, name: &str) -> Option<u64> {
        self.nths.get(name).copied().or(if self.whole { Some(0) } else { None })
    }

    /// Behind which number the next event of this name comes; those of other names may have come since.
    fn after(&self, name: &str) -> u64 {
        self.seqs.get(name).copied().unwrap_or(self.base)
    }

    /// What is missing when everything up to number `until` has been published.
    fn lost(&self, server: &str, until: u64) -> Option<Gap> {
        let missed = until.saturating_sub(self.seq);
        self.gap(server, self.seq, until, missed, None)
    }

    /// What is missing of a name when `count` of it have been published up to number `until`. Its own count must be known.
    fn lost_of(&self, name: &str, server: &str, until: u64, count: u64) -> Option<Gap> {
        let missed = count.saturating_sub(self.nth(name)?);
        self.gap(server, self.after(name), until, missed, Some(name))
    }

    fn gap(&self, server: &str, after: u64, until: u64, missed: u64, name: Option<&str>) -> Option<Gap> {
        let (server, event) = (server.to_owned(), name.map(str::to_owned));
        let gap = Gap {
            server,
            epoch: self.epoch,
            after,
            until: Some(until),
            missed: Some(missed),
            event,
        };
        Some(gap).filter(|_| missed > 0)
    }

    /// What came behind the last one in this epoch is missing, now that there is another. Nobody knows how many.
    fn ended(&self, server: &str) -> Gap {
        Gap {
            server: server.to_owned(),
            epoch: self.epoch,
            after: self.seq,
            until: None,
            missed: None,
            event: None,
        }
    }
}

/// The rule. Give [`event`](Gaps::event) each event and [`tick`](Gaps::tick) each tick, in the order in which they come.
///
/// [`before_event`](Gaps::before_event) and [`before_tick`](Gaps::before_tick) tell the same and take nothing, for a subscriber
/// that fetches what it missed before it goes on.
pub struct Gaps {
    names: BTreeSet<String>,
    seen: HashMap<String, Seen>,
}

impl Gaps {
    /// The rule for a subscription to these event names, or to all when there are none.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Gaps {
        Gaps {
            names: names.into_iter().map(Into::into).collect(),
            seen: HashMap::new(),
        }
    }

    /// Take an event: what was missed before it, or None when it has been seen already.
    pub fn event(&mut self, event: &Event) -> Option<Vec<Gap>> {
        let gaps = self.before_event(event)?;
        let first = || Seen::from(event.epoch, event.seq);
        let seen = self.seen.entry(event.server.clone()).or_insert_with(first);
        if event.epoch != seen.epoch {
            *seen = Seen::begun(event.epoch);
        }
        seen.seq = seen.seq.max(event.seq);
        seen.seqs.insert(event.event.clone(), event.seq);
        seen.nths.insert(event.event.clone(), event.nth);
        Some(gaps)
    }

    /// Take a tick: what it shows to be missing, since everything up to its `seq` has been published.
    pub fn tick(&mut self, tick: &Tick) -> Vec<Gap> {
        let gaps = self.before_tick(tick);
        let seen = self.seen.get(&tick.server);
        if seen.map_or(true, |seen| !is_old(tick, seen)) {
            self.seen.insert(tick.server.clone(), Seen::at(tick));
        }
        gaps
    }

    /// What this event, when it is the next to be taken, shows to be missing; None when it has been seen already.
    pub fn before_event(&self, event: &Event) -> Option<Vec<Gap>> {
        match self.seen.get(&event.server) {
            None => Some(Vec::new()),
            Some(seen) if !self.is_fresh(event, seen) => None,
            Some(seen) if event.epoch == seen.epoch => Some(self.lost_before(event, seen)),
            Some(seen) => {
                let begun = self.lost_before(event, &Seen::begun(event.epoch));
                Some([vec![seen.ended(&event.server)], begun].concat())
            }
        }
    }

    /// What this tick, when it is the next to be taken, shows to be missing.
    pub fn before_tick(&self, tick: &Tick) -> Vec<Gap> {
        match self.seen.get(&tick.server) {
            None => Vec::new(),
            Some(seen) if is_old(tick, seen) => Vec::new(),
            Some(seen) if tick.epoch == seen.epoch => self.lost_at(tick, seen),
            Some(seen) => {
                let begun = self.lost_at(tick, &Seen::begun(tick.epoch));
                [vec![seen.ended(&tick.server)], begun].concat()
            }
        }
    }

    pub(crate) fn before(&self, message: &Message) -> Vec<Gap> {
        match message {
            Message::Event(event) => self.before_event(event).unwrap_or_default(),
            Message::Tick(tick) => self.before_tick(tick),
        }
    }

    /// With names only, the gap from where nothing of any name is missing: what was lost of the others lies there too.
    pub(crate) fn widened(&self, gap: Gap) -> Gap {
        let after = match self.seen.get(&gap.server) {
            Some(seen) if seen.epoch == gap.epoch => self.names.iter().map(|name| seen.after(name)).min(),
            _ => None,
        };
        Gap {
            after: after.unwrap_or(gap.after),
            ..gap
        }
    }

    /// With names only, each name is a stream of its own: of one name a lost event may be fetched when another's has come.
    fn is_fresh(&self, event: &Event, seen: &Seen) -> bool {
        let last = if self.names.is_empty() {
            seen.seq
        } else {
            seen.after(&event.event)
        };
        event.epoch > seen.epoch || (event.epoch == seen.epoch && event.seq > last)
    }

    fn lost_before(&self, event: &Event, seen: &Seen) -> Vec<Gap> {
        let (until, count) = (event.seq.saturating_sub(1), event.nth.saturating_sub(1));
        let gap = if self.names.is_empty() {
            seen.lost(&event.server, until)
        } else {
            seen.lost_of(&event.event, &event.server, until, count)
        };
        Vec::from_iter(gap)
    }

    fn lost_at(&self, tick: &Tick, seen: &Seen) -> Vec<Gap> {
        if self.names.is_empty() {
            return Vec::from_iter(seen.lost(&tick.server, tick.seq));
        }
        let count = |name| tick.counts.get(name).copied().unwrap_or(0);
        self.names
            .iter()
            .filter_map(|name| seen.lost_of(name, &tick.server, tick.seq, count(name)))
            .collect()
    }
}

fn is_old(tick: &Tick, seen: &Seen) -> bool {
    (tick.epoch, tick.seq) < (seen.epoch, seen.seq)
}
