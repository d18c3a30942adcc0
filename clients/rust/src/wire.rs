//! How requests, answers and events look on the sockets: MessagePack, whose maps are structs or [`Map`]s here.

use crate::error::{Error, Kind};
use crate::value::Map;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The name under which a server says, once a second, what it has published so far.
const TICK: &str = "amid:tick";

/// A value as MessagePack; [`Kind::InvalidParams`] for one that has no place there.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let refused = |error| Error::new(Kind::InvalidParams, format!("a value cannot be put into a request: {error}"));
    rmp_serde::to_vec_named(value).map_err(refused)
}

/// The value in a MessagePack body; [`Kind::ParseError`] for a body that is none, or that has not the form of a `T`.
pub fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(body).map_err(|error| Error::new(Kind::ParseError, format!("a body cannot be read: {error}")))
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    pub server: String,
    /// The session to Asterisk that it came over; a later one's number is greater.
    pub epoch: u64,
    /// Its number among the events of this server and epoch.
    pub seq: u64,
    /// Its number among those of its name.
    pub nth: u64,
    /// When the daemon read it, in seconds since 1970.
    pub time: f64,
    /// Its name, such as `Hangup`.
    pub event: String,
    /// Its headers.
    pub fields: Map,
}

/// What a server has published so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    pub server: String,
    pub epoch: u64,
    /// The last event's number.
    pub seq: u64,
    /// The last `nth` of each event name.
    pub counts: HashMap<String, u64>,
}

/// What an event socket brings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Body")]
pub enum Message {
    Event(Event),
    Tick(Tick),
}

impl Message {
    pub(crate) fn server(&self) -> &str {
        match self {
            Message::Event(event) => &event.server,
            Message::Tick(tick) => &tick.server,
        }
    }
}

/// An event or a tick, which look the same but for `counts`.
#[derive(Deserialize)]
struct Body {
    server: String,
    epoch: u64,
    seq: u64,
    nth: u64,
    time: f64,
    event: String,
    fields: Map,
    #[serde(default)]
    counts: HashMap<String, u64>,
}

impl From<Body> for Message {
    fn from(body: Body) -> Message {
        let Body {
            server,
            epoch,
            seq,
            nth,
            time,
            event,
            fields,
            counts,
        } = body;
        if event == TICK {
            Message::Tick(Tick {
                server,
                epoch,
                seq,
                counts,
            })
        } else {
            Message::Event(Event {
                server,
                epoch,
                seq,
                nth,
                time,
                event,
                fields,
            })
        }
    }
}

/// The final dot makes a subscription to exactly this name possible, since ZeroMQ subscribes to prefixes.
pub(crate) fn event_topic(server: &str, event: &str) -> String {
    format!("event.{server}.{event}.")
}

pub(crate) fn stream_topic(server: &str) -> String {
    format!("stream.{server}.")
}

pub(crate) fn tick_topic(server: &str) -> String {
    format!("tick.{server}.")
}
