//! Events by pull: a request stays open, and the cursor in its answer goes into the next one.

use crate::rpc::{receive, Error, Rpc, SECOND, TIMEOUT};
use crate::value::{Map, Value};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use std::{collections::VecDeque, sync::Arc};

const STATE_TIMEOUT: Duration = Duration::from_secs(10); // the daemon may load the lists of a PBX first
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

/// A change of a thing of the live state. The first one, and the first one after a loss of changes, has the kind `reset` and the
/// whole `state` instead, as [`Client::state`](crate::Client::state) returns it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    pub server: String,
    pub kind: String,
    pub id: Value, // text, or bytes that are not UTF-8: a queue may have such a name
    pub set: Map, // the members with new values
    pub gone: bool,
    pub state: Map,
}

/// A gap stands for events behind number `after` of an epoch that the daemon no longer holds. `missed` is how many; None: the epoch
/// ended, and what came behind its last event cannot be known.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Item {
    Event(Event),
    Gap { server: String, epoch: i64, after: i64, missed: Option<i64> },
    Change(Change),
}

/// What a request is answered with: what came behind the cursor, or the whole state.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Page { server: String, epoch: i64, seq: i64, rev: Option<i64>, missed: Option<i64>, events: Vec<Item> },
    State(Map),
}

/// Events or changes of a server as they come: each once, and in order, through every restart of the daemon. Events that it no
/// longer holds are an [`Item::Gap`] in their place. An error is one that asking again would not change. `next` waits for ever.
pub struct Events {
    rpc: Arc<Rpc>,
    socket: zmq::Socket,
    query: Map,                              // with `kinds` for changes
    cursor: Option<(i64, i64, Option<i64>)>, // epoch, seq, and rev of the state
    id: Option<i64>,                         // of the open request
    due: Instant,                            // when to ask again, or until when the open request may take
    ready: VecDeque<Item>,
}

impl Events {
    pub(crate) fn open(rpc: Arc<Rpc>, query: Map) -> Result<Events, Error> {
        let (socket, due) = (rpc.connect()?, Instant::now());
        let mut events = Events { rpc, socket, query, cursor: None, id: None, due, ready: VecDeque::new() };
        let (method, params, timeout) = events.request(Duration::ZERO);
        match events.rpc.call(method, &params, timeout) {
            Err(error) if error.kind == "unreachable" => Err(error),
            answer => events.accept(answer).map(|()| events), // a server whose reader is away begins when it is back
        }
    }

    /// The next item, or None when none came within `timeout`, after which it may be called again.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Item>, Error> {
        let began = Instant::now();
        while self.ready.is_empty() {
            let left = timeout.saturating_sub(began.elapsed()).min(TIMEOUT);
            let next = self.ask(Instant::now() + left);
            if let Some((_, answer)) = receive(&self.socket, next).filter(|(id, _)| id.is_some() && *id == self.id) {
                self.accept(answer)?;
                self.ask(next); // the daemon works on the next answer while the program works on this one
            }
            if left.is_zero() {
                break;
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Keep a request open. Returns when to look again, `end` at the latest.
    fn ask(&mut self, end: Instant) -> Instant {
        if self.due <= Instant::now() {
            let (method, params, timeout) = self.request(TIMEOUT);
            self.id = self.rpc.send(&self.socket, method, &params, end.min(Instant::now() + SECOND)).ok();
            self.due = Instant::now() + self.id.map_or(RETRY_DELAY, |_| timeout + SECOND);
        }
        end.min(self.due)
    }

    /// The method, params and timeout of the next request. Changes begin, and after a loss begin again, with the whole state.
    fn request(&self, wait: Duration) -> (&'static str, Map, Duration) {
        let is_state = self.cursor.is_none() && self.query.get("kinds").is_some();
        let (method, timeout) = if is_state { ("state", STATE_TIMEOUT) } else { ("events", wait) };
        let mut params = self.query.clone();
        params.extend([("timeout", timeout.as_secs_f64())]);
        params.extend(self.cursor.map(|(epoch, seq, rev)| {
            let mut after = Map::from([("epoch", epoch), ("seq", seq)]);
            after.extend(rev.map(|rev| ("rev", rev)));
            ("after", after)
        }));
        (method, params, timeout)
    }

    /// What an answer brought. Nothing when the error may be over in a moment.
    fn accept(&mut self, answer: Result<Answer, Error>) -> Result<(), Error> {
        (self.id, self.due) = (None, Instant::now());
        match answer {
            Ok(Answer::State(state)) => {
                let number = |name| state.get(name).and_then(Value::as_i64);
                self.cursor = number("epoch").zip(number("seq")).map(|(epoch, seq)| (epoch, seq, number("rev")));
                let server = state.text("server").unwrap_or_default().into();
                self.ready.push_back(Item::Change(Change { server, kind: "reset".into(), id: "".into(), state, ..Change::default() }));
            }
            Ok(Answer::Page { missed, .. }) if missed != Some(0) && self.query.get("kinds").is_some() => self.cursor = None,
            Ok(Answer::Page { server, epoch, seq, rev, missed, events }) => {
                let (epoch, after, _) = self.cursor.replace((epoch, seq, rev)).unwrap_or((epoch, seq, rev));
                if missed != Some(0) {
                    self.ready.push_back(Item::Gap { server, epoch, after, missed });
                }
                self.ready.extend(events);
            }
            Err(error) if TRANSIENT.contains(&error.kind.as_str()) => self.due += RETRY_DELAY,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Iterator for Events {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Result<Item, Error>> {
        self.next_within(Duration::MAX).transpose()
    }
}
