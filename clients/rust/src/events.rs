//! Events by pull: a request of each server stays open, and the cursor in its answer goes into the next one.

use crate::rpc::{receive, Error, Rpc, SECOND, TIMEOUT};
use crate::value::{Map, Value};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PULL_TIMEOUT: Duration = Duration::from_secs(5); // of one request in the daemon
const RETRY_DELAY: Duration = Duration::from_millis(500); // until a request that failed is made again
const TRANSIENT: [&str; 5] = ["unreachable", "not_connected", "busy", "timeout", "connection_lost"];

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub server: String,
    pub epoch: i64, // the session to Asterisk that it came over
    pub seq: i64,   // its number in the epoch
    pub prev: i64,  // the number of the event of the same name before it in the epoch; 0 for none
    pub time: f64,  // when the daemon read it, in seconds since 1970
    pub event: String,
    pub fields: Map,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Event(Event),
    /// Events behind number `after` of an epoch that the daemon no longer holds. `missed` is how many; None: the epoch ended, and
    /// what came behind its last event cannot be known.
    Gap {
        server: String,
        epoch: i64,
        after: i64,
        missed: Option<i64>,
    },
}

#[derive(Deserialize)]
struct Page {
    epoch: i64,
    seq: i64,
    events: Vec<Event>,
    missed: Option<i64>,
}

/// Where the stream is in the events of one server.
struct Position {
    server: String,
    cursor: Option<(i64, i64)>, // epoch and seq
    id: Option<i64>,            // of the open request
    due: Instant,               // when to ask again, or until when the open request may take
}

/// Events as they come, for ever: each once, and in order for each server, through every restart of the daemon. What it no longer
/// holds is an [`Item::Gap`] in its place. An error is one that asking again would not change.
pub struct Events {
    rpc: Arc<Rpc>,
    socket: zmq::Socket,
    names: Value, // nil for all
    positions: Vec<Position>,
    ready: VecDeque<Item>,
    missed: i64,
}

impl Events {
    pub(crate) fn open(rpc: Arc<Rpc>, names: &[&str], servers: Vec<&str>) -> Result<Events, Error> {
        let wanted = Value::List(names.iter().copied().map(Value::from).collect());
        let (socket, names) = (rpc.connect()?, if names.is_empty() { Value::Nil } else { wanted });
        let position = |server: &str| Position { server: server.to_owned(), cursor: None, id: None, due: Instant::now() };
        let positions = servers.into_iter().map(position).collect();
        let mut events = Events { rpc, socket, names, positions, ready: VecDeque::new(), missed: 0 };
        for i in 0..events.positions.len() {
            let page = events.rpc.call("events", &events.params(&events.positions[i], Duration::ZERO), TIMEOUT);
            events.take_page(i, page)?;
        }
        Ok(events)
    }

    /// The next item, or None when none came within `timeout`, after which it may be called again.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Item>, Error> {
        let began = Instant::now();
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let left = timeout.saturating_sub(began.elapsed()).min(PULL_TIMEOUT);
            let next = self.ask(Instant::now() + left);
            if let Some((id, page)) = receive(&self.socket, next) {
                if let Some(i) = self.positions.iter().position(|position| id.is_some() && position.id == id) {
                    self.take_page(i, page)?;
                    self.ask(next); // the daemon works on the next answer while the program works on this one
                }
            }
            if left.is_zero() && self.ready.is_empty() {
                return Ok(None);
            }
        }
    }

    /// How many events are known to be missing.
    pub fn missed(&self) -> i64 {
        self.missed
    }

    /// Keep a request of each server open. Returns when to look again, `end` at the latest.
    fn ask(&mut self, end: Instant) -> Instant {
        for i in 0..self.positions.len() {
            if self.positions[i].due <= Instant::now() {
                let params = self.params(&self.positions[i], PULL_TIMEOUT);
                let id = self.rpc.send(&self.socket, "events", &params, end.min(Instant::now() + SECOND)).ok();
                self.positions[i].id = id;
                self.positions[i].due = Instant::now() + id.map_or(RETRY_DELAY, |_| PULL_TIMEOUT + SECOND);
            }
        }
        self.positions.iter().map(|position| position.due).fold(end, Instant::min)
    }

    /// What an answer brought. Nothing when the error may be over in a moment.
    fn take_page(&mut self, i: usize, page: Result<Page, Error>) -> Result<(), Error> {
        let position = &mut self.positions[i];
        position.id = None;
        position.due = Instant::now();
        if let Err(error) = page {
            position.due += RETRY_DELAY;
            return if TRANSIENT.contains(&error.kind.as_str()) { Ok(()) } else { Err(error) };
        }
        let page = page?;
        let (epoch, after) = position.cursor.replace((page.epoch, page.seq)).unwrap_or((page.epoch, page.seq));
        if page.missed != Some(0) {
            self.missed += page.missed.unwrap_or(0);
            self.ready.push_back(Item::Gap { server: position.server.clone(), epoch, after, missed: page.missed });
        }
        self.ready.extend(page.events.into_iter().map(Item::Event));
        Ok(())
    }

    fn params(&self, position: &Position, wait: Duration) -> Map {
        let after = |(epoch, seq)| Map::from([("epoch", epoch), ("seq", seq)]).into();
        Map::from([
            ("server", position.server.as_str().into()),
            ("after", position.cursor.map_or(Value::Nil, after)),
            ("names", self.names.clone()),
            ("timeout", wait.as_secs_f64().into()),
        ])
    }
}

impl Iterator for Events {
    type Item = Result<Item, Error>;

    /// Waits for as long as it takes.
    fn next(&mut self) -> Option<Result<Item, Error>> {
        self.next_within(Duration::MAX).transpose()
    }
}
