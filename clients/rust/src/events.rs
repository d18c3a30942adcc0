//! Events as they come, over a SUB socket.

use crate::client::Client;
use crate::error::Error;
use crate::feed::{Feed, Item};
use crate::recovery::Ask;
use crate::rpc::{wait, TIMEOUT};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for the first tick of each server that is up, which shows that a subscription is in effect.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a wait for events may last before the feed looks at the clock.
const WAKE: Duration = Duration::from_secs(1);
/// Events asked for at a time: a reader takes some ten milliseconds to encode so many, and serves others between two pages.
const PAGE: u32 = 1000;

/// Events as they come, for ever. Made by [`Client::events`].
///
/// When the daemon or a reader is replaced, it reconnects by itself, and the end of the old epoch shows as a gap. What was lost
/// because this program did not read in time is fetched once more, in its place. Loss is never silent: what the daemon no longer
/// holds is an [`Item::Gap`] in its place. With names, each name's events are in order; a lost one may come after a later one of
/// another name. A server that stays without a tick is a warning in the log.
pub struct Events {
    client: Client,
    socket: zmq::Socket,
    feed: Feed,
}

impl Events {
    pub(crate) fn open(client: Client, context: &zmq::Context, feed: Feed) -> Result<Events, Error> {
        let refused = |error| Error::unreachable(format_args!("the event sockets cannot be opened ({error})"));
        let socket = subscribed(context, &feed).map_err(refused)?;
        let mut events = Events { client, socket, feed };
        events.settle();
        Ok(events)
    }

    /// The next item, or None when none came within `timeout`. The subscription stays as it is.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Item> {
        let began = Instant::now();
        loop {
            if let Some(item) = self.feed.next() {
                return Some(item);
            }
            let left = timeout.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
            match self.feed.ask() {
                Some(ask) => self.fetch(&ask, left.min(TIMEOUT)),
                None => self.receive(left.min(WAKE)),
            }
        }
    }

    /// How many events are known to be missing.
    pub fn missed(&self) -> u64 {
        self.feed.missed
    }

    /// How many gaps there were; of one at a new epoch nobody knows the size.
    pub fn gaps(&self) -> u64 {
        self.feed.gaps
    }

    /// How many events were lost on the way and fetched once more.
    pub fn replayed(&self) -> u64 {
        self.feed.replayed
    }

    /// For `limit` at most.
    fn fetch(&mut self, ask: &Ask, limit: Duration) {
        thread::sleep(self.feed.pause().min(limit));
        match self
            .client
            .with_timeout(limit)
            .replay(&ask.server, ask.epoch, ask.after, PAGE)
        {
            Ok(page) => self.feed.fetched(page),
            Err(error) => self.feed.refused(&error, limit),
        }
    }

    fn settle(&mut self) {
        let deadline = Instant::now() + SETTLE;
        while !self.feed.is_settled() && Instant::now() < deadline {
            self.receive(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn receive(&mut self, limit: Duration) {
        if wait(&self.socket, zmq::POLLIN, Instant::now() + limit) {
            let frames = self.socket.recv_multipart(zmq::DONTWAIT).unwrap_or_default();
            self.feed.take(frames.get(1).map_or(&[], Vec::as_slice), Instant::now());
        }
        self.feed.watch(Instant::now());
    }
}

/// It never ends: `next` waits for as long as it takes. [`Events::next_within`] does not.
impl Iterator for Events {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.next_within(Duration::MAX)
    }
}

fn subscribed(context: &zmq::Context, feed: &Feed) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(zmq::SUB)?;
    socket.set_linger(0)?;
    for endpoint in feed.endpoints() {
        socket.connect(endpoint)?;
    }
    for topic in feed.topics() {
        socket.set_subscribe(topic.as_bytes())?;
    }
    Ok(socket)
}
