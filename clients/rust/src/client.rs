//! The client: a function for each method of the daemon.

use crate::action::{Action, Answer};
use crate::error::Error;
use crate::events::Events;
use crate::feed::{Feed, Listed};
use crate::rpc::{Call, Rpc, TIMEOUT};
use crate::value::{Map, Value};
use crate::wire::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection to the daemon.
///
/// Nothing is opened before the first call. Every method blocks, for its timeout and two seconds at most. A client may be used from
/// many threads at once, and a clone shares its sockets. Not to be taken through a fork.
#[derive(Clone)]
pub struct Client {
    rpc: Arc<Rpc>,
    timeout: Duration,
}

impl Client {
    /// The daemon in `$AMID_RUN_DIR`, or without it in the first of `/run/amid` and `$XDG_RUNTIME_DIR/amid` that holds its
    /// socket.
    pub fn new() -> Client {
        Client {
            rpc: Arc::new(Rpc::new(None)),
            timeout: TIMEOUT,
        }
    }

    /// The daemon in this directory, and in no other.
    pub fn at(run_dir: impl Into<PathBuf>) -> Client {
        Client {
            rpc: Arc::new(Rpc::new(Some(run_dir.into()))),
            timeout: TIMEOUT,
        }
    }

    /// The same client with another timeout of its calls. It is 5 s when nothing else is said, and an hour at most.
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        Client {
            rpc: Arc::clone(&self.rpc),
            timeout,
        }
    }

    /// Send an action and wait for its whole answer.
    ///
    /// [`Kind::ActionFailed`](crate::Kind::ActionFailed) when Asterisk answers `Response: Error`; the error has the packet.
    pub fn action(&self, action: impl Into<Action>) -> Result<Answer, Error> {
        let mut action = action.into();
        let timeout = *action.timeout.get_or_insert(self.timeout);
        self.rpc.call(
            &Call {
                method: "action",
                server: action.server.as_deref(),
                timeout,
            },
            &action,
        )
    }

    /// The output lines of an Asterisk CLI command; a server may be left out when there is one.
    pub fn command(&self, command: impl Into<Value>, server: Option<&str>) -> Result<Vec<Value>, Error> {
        let action = Action::new("Command").header("Command", command);
        let action = server.into_iter().fold(action, Action::server);
        Ok(self.action(action)?.output)
    }

    /// Each server's `name`, `state`, version, epoch, endpoints, lanes and queue.
    pub fn servers(&self) -> Result<Vec<Map>, Error> {
        self.ask("servers", None, &Map::new())
    }

    /// Servers, processes, counters, version and uptime of the daemon.
    pub fn status(&self) -> Result<Map, Error> {
        self.ask("status", None, &Map::new())
    }

    /// The actions that this Asterisk offers: `name`, `synopsis`, `privilege`. A server may be left out when there is one.
    pub fn actions(&self, server: Option<&str>) -> Result<Vec<Map>, Error> {
        self.ask(
            "actions",
            server,
            &Actions {
                server,
                timeout: self.timeout.as_secs_f64(),
            },
        )
    }

    /// Events of an epoch behind number `after` once more, at most `limit` of them.
    ///
    /// [`Kind::Gone`](crate::Kind::Gone) when they are no longer held; the error says which is the oldest that still is.
    pub fn replay(&self, server: &str, epoch: u64, after: u64, limit: u32) -> Result<Page, Error> {
        let timeout = self.timeout.as_secs_f64();
        self.ask(
            "replay",
            Some(server),
            &Replay {
                server,
                epoch,
                after,
                limit,
                timeout,
            },
        )
    }

    /// Replace a server's reader.
    pub fn restart(&self, server: &str) -> Result<Map, Error> {
        self.ask("restart", Some(server), &Map::from([("server", server)]))
    }

    /// Ask the daemon, not Asterisk, for a sign of life.
    pub fn ping(&self) -> Result<Map, Error> {
        self.ask("ping", None, &Map::new())
    }

    /// Call any method of the daemon. `timeout` is how long this client waits for it; one for the daemon goes into `params`.
    pub fn call(&self, method: &str, params: Map, timeout: Duration) -> Result<Value, Error> {
        self.rpc.call(
            &Call {
                method,
                server: params.text("server"),
                timeout,
            },
            &params,
        )
    }

    /// Events as they come: those with these names, or all when there are none; of one server, or of all that the daemon has now.
    ///
    /// The subscription is in effect when this returns: it waits, for 2 s at most, for the first tick of every server that is up.
    pub fn events(&self, names: &[&str], server: Option<&str>) -> Result<Events, Error> {
        let listed: Vec<Listed> = self.ask("servers", None, &Map::new())?;
        let feed = Feed::new(listed, server, names, Instant::now())?;
        Events::open(self.clone(), &self.rpc.context, feed)
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, server: Option<&str>, params: &impl Serialize) -> Result<T, Error> {
        self.rpc.call(
            &Call {
                method,
                server,
                timeout: self.timeout,
            },
            params,
        )
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

/// The params of `actions`. What is not set is left out.
#[derive(Serialize)]
struct Actions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    timeout: f64,
}

/// The params of `replay`.
#[derive(Serialize)]
struct Replay<'a> {
    server: &'a str,
    epoch: u64,
    after: u64,
    limit: u32,
    timeout: f64,
}

/// Events as `replay` gives them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page {
    pub events: Vec<Event>,
    /// Whether there are more behind them.
    pub more: bool,
}
