//! Which lost events to fetch once more, and when to stop asking: between [`Gaps`](crate::gaps::Gaps), which sees a loss, and
//! `replay`, without a socket or a clock.
//!
//! A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where
//! the daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.

use crate::client::Page;
use crate::error::{Error, Kind};
use crate::gaps::Gap;
use crate::wire::Event;
use std::collections::VecDeque;
use std::time::Duration;

/// How often a page is asked for when it is refused for now: its reader or the broker may just have been replaced. A try that
/// failed otherwise counts for half of them.
const TRIES: u32 = 8;
/// Between two such tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The arguments of `replay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub server: String,
    pub epoch: u64,
    pub after: u64,
}

/// Behind `after`, not behind `until`; None is to the epoch's end.
struct Range {
    server: String,
    epoch: u64,
    after: u64,
    until: Option<u64>,
    tries: u32,
}

impl Range {
    fn has(&self, seq: u64) -> bool {
        seq > self.after && self.until.map_or(true, |until| seq <= until)
    }

    fn is_whole(&self) -> bool {
        self.until.map_or(false, |until| self.after >= until)
    }

    /// Gaps in several names of one epoch are one range, so that their events come in order.
    fn takes_in(&mut self, gap: &Gap) -> bool {
        if (&self.server, self.epoch) != (&gap.server, gap.epoch) {
            return false;
        }
        self.after = self.after.min(gap.after);
        self.until = self.until.zip(gap.until).map(|(one, other)| one.max(other));
        true
    }
}

/// Give it gaps with `begin`; while `ask` is Some, call `replay` with it and give `page` or `refused` what came.
#[derive(Default)]
pub(crate) struct Recovery {
    ranges: VecDeque<Range>,
    /// How long to wait before `ask` is asked.
    pub pause: Duration,
}

impl Recovery {
    pub fn ask(&self) -> Option<Ask> {
        let first = self.ranges.front()?;
        Some(Ask {
            server: first.server.clone(),
            epoch: first.epoch,
            after: first.after,
        })
    }

    pub fn is_over(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn begin(&mut self, gap: Gap) {
        if self.ranges.back_mut().map_or(false, |last| last.takes_in(&gap)) {
            return;
        }
        let Gap {
            server,
            epoch,
            after,
            until,
            ..
        } = gap;
        self.ranges.push_back(Range {
            server,
            epoch,
            after,
            until,
            tries: TRIES,
        });
    }

    /// Those events of a page that lie in the range.
    pub fn page(&mut self, page: Page) -> Vec<Event> {
        self.pause = Duration::ZERO;
        let first = match self.ranges.front_mut() {
            Some(first) => first,
            None => return Vec::new(),
        };
        let wanted: Vec<Event> = page.events.into_iter().filter(|event| first.has(event.seq)).collect();
        first.after = wanted.last().map_or(first.after, |last| last.seq);
        if !page.more || wanted.is_empty() || first.is_whole() {
            self.ranges.pop_front();
        }
        wanted
    }

    pub fn refused(&mut self, error: &Error) {
        let first = match self.ranges.front_mut() {
            Some(first) => first,
            None => return,
        };
        let for_now = is_for_now(&error.kind);
        first.tries = first.tries.saturating_sub(if for_now { 1 } else { TRIES / 2 });
        self.pause = if for_now { PAUSE } else { Duration::ZERO };
        match error.oldest {
            Some(oldest) if oldest > first.after + 1 && first.has(oldest) => {
                first.after = oldest - 1;
                first.tries = TRIES;
            }
            _ if is_final(&error.kind) || first.tries == 0 => {
                self.ranges.pop_front();
            }
            _ => {}
        }
    }
}

/// Errors that come at once and may be over in a moment.
fn is_for_now(kind: &Kind) -> bool {
    matches!(kind, Kind::NotConnected | Kind::Busy | Kind::Unreachable)
}

/// Errors that asking again would not change.
fn is_final(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Gone | Kind::UnknownServer | Kind::InvalidParams | Kind::UnknownMethod | Kind::Denied
    )
}
