//! What a subscriber does with event messages, without a socket or a clock: [`Feed`] turns them into events and gaps.
//!
//! What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. Loss is never
//! silent: what cannot be had comes as a [`Gap`] in its place.

use crate::client::Page;
use crate::error::{Error, Kind};
use crate::gaps::{Gap, Gaps};
use crate::recovery::{Ask, Recovery};
use crate::rpc::TIMEOUT;
use crate::wire::{self, Event, Message};
use serde::Deserialize;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How long a server may be without a tick before it is reported: a daemon that is gone must not look like a quiet PBX.
const QUIET: Duration = Duration::from_secs(5);

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Event(Event),
    /// Events that were lost, and that the daemon no longer holds.
    Gap(Gap),
}

/// What a subscription needs of an item of `servers`.
#[derive(Deserialize)]
pub(crate) struct Listed {
    name: String,
    state: String,
    /// The endpoint of events by name.
    events: String,
    /// The endpoint of all events.
    stream: String,
}

/// A server whose events are taken.
struct Source {
    listed: Listed,
    /// Whether its first tick is due: whatever it publishes after that will come.
    awaited: bool,
    /// When its last message came.
    heard: Instant,
    /// Whether it has been reported as quiet.
    quiet: bool,
}

/// Give `take` each message, and get events and gaps from `next`.
///
/// While `ask` is Some, events are missing: call `replay` with it and give `fetched` or `refused` what came of it, before the next
/// message.
pub(crate) struct Feed {
    names: BTreeSet<String>,
    sources: Vec<Source>,
    rule: Gaps,
    inbox: VecDeque<Message>,
    recovery: Recovery,
    /// Whether what is missing before the first of the inbox has been asked for.
    recovered: bool,
    ready: VecDeque<Item>,
    pub missed: u64,
    pub gaps: u64,
    pub replayed: u64,
}

impl Feed {
    /// A feed of one server in `listed`, which is what `servers` gives, or of all of them. No names are all events.
    pub fn new(listed: Vec<Listed>, server: Option<&str>, names: &[&str], now: Instant) -> Result<Feed, Error> {
        Ok(Feed {
            names: names.iter().copied().map(String::from).collect(),
            sources: chosen(listed, server)?
                .into_iter()
                .map(|listed| Source::new(listed, now))
                .collect(),
            rule: Gaps::new(names.iter().copied()),
            inbox: VecDeque::new(),
            recovery: Recovery::default(),
            recovered: false,
            ready: VecDeque::new(),
            missed: 0,
            gaps: 0,
            replayed: 0,
        })
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        let by_name = !self.names.is_empty();
        self.sources
            .iter()
            .map(move |source| {
                if by_name {
                    &source.listed.events
                } else {
                    &source.listed.stream
                }
            })
            .map(String::as_str)
    }

    /// Ticks come last: the first tick then shows that all of them are in effect.
    pub fn topics(&self) -> Vec<String> {
        let servers = || self.sources.iter().map(|source| source.listed.name.as_str());
        let ticks = servers().map(wire::tick_topic);
        if self.names.is_empty() {
            return servers().map(wire::stream_topic).chain(ticks).collect();
        }
        let events = servers().flat_map(|server| self.names.iter().map(move |name| wire::event_topic(server, name)));
        events.chain(ticks).collect()
    }

    /// Every server that was up has ticked: whatever it publishes from now on will come.
    pub fn is_settled(&self) -> bool {
        self.sources.iter().all(|source| !source.awaited)
    }

    /// Take a message's body. What was in one that cannot be read shows as missing at the next.
    pub fn take(&mut self, body: &[u8], now: Instant) {
        let messages: Vec<Message> = wire::unpack(body).unwrap_or_else(|error| {
            log::warn!("ignored an event message of {} bytes: {error}", body.len());
            Vec::new()
        });
        for message in &messages {
            self.sources
                .iter_mut()
                .filter(|source| source.listed.name == message.server())
                .for_each(|source| source.hear(message, now));
        }
        self.inbox.extend(messages);
        self.advance();
    }

    /// Say it, once, when a server has not ticked for a while.
    pub fn watch(&mut self, now: Instant) {
        for source in self
            .sources
            .iter_mut()
            .filter(|source| !source.quiet && now.duration_since(source.heard) > QUIET)
        {
            source.quiet = true;
            log::warn!(
                "{}: no tick for {QUIET:?}; its reader or the daemon is down, still waiting",
                source.listed.name
            );
        }
    }

    /// What to ask `replay` for.
    pub fn ask(&self) -> Option<Ask> {
        self.recovery.ask()
    }

    /// How long to wait before asking it.
    pub fn pause(&self) -> Duration {
        self.recovery.pause
    }

    /// What `replay` gave for `ask`.
    pub fn fetched(&mut self, page: Page) {
        for event in self.recovery.page(page) {
            self.replayed += u64::from(self.event(event));
        }
        self.advance();
    }

    /// `replay` did not give it within `limit`. What the caller's own limit cut short is asked again.
    pub fn refused(&mut self, error: &Error, limit: Duration) {
        if limit < TIMEOUT && matches!(error.kind, Kind::Timeout | Kind::Unreachable) {
            return;
        }
        self.recovery.refused(error);
        self.advance();
    }

    pub fn next(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// Take what came, up to where something is missing that may still be had.
    fn advance(&mut self) {
        while self.recovery.is_over() {
            let message = match self.inbox.pop_front() {
                Some(message) => message,
                None => return,
            };
            let missing = if self.recovered {
                Vec::new()
            } else {
                self.rule.before(&message)
            };
            self.recovered = !missing.is_empty();
            if missing.is_empty() {
                self.accept(message);
            } else {
                self.recover(missing);
                self.inbox.push_front(message);
            }
        }
    }

    fn recover(&mut self, missing: Vec<Gap>) {
        for gap in missing {
            self.recovery.begin(self.rule.widened(gap));
        }
    }

    fn accept(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                self.event(event);
            }
            Message::Tick(tick) => {
                let gaps = self.rule.tick(&tick);
                self.tell(gaps);
            }
        }
    }

    /// Whether it is one that was asked for and is new.
    fn event(&mut self, event: Event) -> bool {
        if !self.names.is_empty() && !self.names.contains(&event.event) {
            return false;
        }
        let gaps = match self.rule.event(&event) {
            Some(gaps) => gaps,
            None => return false,
        };
        self.tell(gaps);
        self.ready.push_back(Item::Event(event));
        true
    }

    fn tell(&mut self, gaps: Vec<Gap>) {
        for gap in gaps {
            self.gaps += 1;
            self.missed += gap.missed.unwrap_or(0);
            self.ready.push_back(Item::Gap(gap));
        }
    }
}

impl Source {
    fn new(listed: Listed, now: Instant) -> Source {
        Source {
            awaited: listed.state == "up",
            listed,
            heard: now,
            quiet: false,
        }
    }

    fn hear(&mut self, message: &Message, now: Instant) {
        self.heard = now;
        if matches!(message, Message::Tick(_)) {
            self.awaited = false;
            self.quiet = false;
        }
    }
}

fn chosen(listed: Vec<Listed>, server: Option<&str>) -> Result<Vec<Listed>, Error> {
    let known: Vec<String> = listed.iter().map(|server| server.name.clone()).collect();
    let chosen: Vec<Listed> = listed
        .into_iter()
        .filter(|each| server.map_or(true, |server| each.name == server))
        .collect();
    if chosen.is_empty() {
        let message = format!(
            "there is no server {}; the daemon has: {}",
            server.unwrap_or("at all"),
            known.join(", ")
        );
        return Err(Error {
            server: server.map(str::to_owned),
            ..Error::new(Kind::UnknownServer, message)
        });
    }
    Ok(chosen)
}
