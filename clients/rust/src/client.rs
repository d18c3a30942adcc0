//! The client: a function for each method of the daemon.

use crate::events::Events;
use crate::rpc::{Error, Rpc, TIMEOUT};
use crate::value::{Map, Value};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What an action may have besides its fields: `Options { server: Some("pbx1"), ..Options::default() }`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub server: Option<&'a str>, // where to send it to; it may be left out when there is one
    pub until: Option<&'a str>,  // the name of a later event with this ActionID to wait for as well, such as `OriginateResponse`
    pub raw: bool,               // to have `packets` in the answer, the bytes of each packet, in place of maps
}

/// A connection to the daemon.
///
/// Nothing is opened before the first call. Every method blocks, for its timeout and two seconds at most. A client may be used from
/// many threads, and a clone shares its sockets. Not to be taken through a fork. Results are as clients/README.md has them.
#[derive(Clone)]
pub struct Client {
    rpc: Arc<Rpc>,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon in `run_dir`, and in no other; when None, of the one in `$AMID_RUN_DIR`, or without it in the first
    /// of `/run/amid` and `$XDG_RUNTIME_DIR/amid` that holds its socket.
    pub fn new(run_dir: Option<PathBuf>) -> Client {
        Client { rpc: Arc::new(Rpc { run_dir, ..Rpc::default() }), timeout: TIMEOUT }
    }

    /// The same client with another timeout of its calls. It is 5 s when nothing else is said, and an hour at most.
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        Client { rpc: Arc::clone(&self.rpc), timeout }
    }

    /// Send an action and wait for its whole answer: `server`, `action_id`, `response`, `events`, `complete`, `output`, `until`,
    /// `elapsed`. The value of a field is text, bytes, a number or a boolean, or a list of them for a header that is repeated.
    pub fn action(&self, name: impl Into<Value>, fields: impl Into<Map>, options: Options) -> Result<Map, Error> {
        let mut params = params(Some(self.timeout), options.server, []);
        params.extend([("action", name.into()), ("fields", Value::Map(fields.into()))]);
        params.extend(options.until.map(|until| ("until", until)));
        params.extend(options.raw.then_some(("raw", true)));
        self.rpc.call("action", &params, self.timeout)
    }

    /// The output lines of an Asterisk CLI command, a list.
    pub fn command(&self, command: impl Into<Value>, options: Options) -> Result<Value, Error> {
        let answer = self.action("Command", [("Command", command)], options)?;
        Ok(answer.get("output").cloned().unwrap_or(Value::Nil))
    }

    /// Each server's `name`, `state`, version, epoch, endpoints, lanes and queue.
    pub fn servers(&self) -> Result<Vec<Map>, Error> {
        self.rpc.call("servers", &Map::default(), self.timeout)
    }

    /// Servers, processes, counters, version and uptime of the daemon.
    pub fn status(&self) -> Result<Map, Error> {
        self.rpc.call("status", &Map::default(), self.timeout)
    }

    /// The actions that this Asterisk offers: `name`, `synopsis`, `privilege`. A server may be left out when there is one.
    pub fn actions(&self, server: Option<&str>) -> Result<Vec<Map>, Error> {
        self.rpc.call("actions", &params(Some(self.timeout), server, []), self.timeout)
    }

    /// The live state of a PBX, with a list of the things of each of these kinds, or of every kind when there are none. All of the
    /// conditions hold for each, such as `"state=Up"` (equal) and `"name~PJSIP"` (contains).
    pub fn state(&self, kinds: &[&str], conditions: &[&str], server: Option<&str>) -> Result<Map, Error> {
        let params = params(Some(self.timeout), server, [("kinds", kinds), ("where", conditions)]);
        self.rpc.call("state", &params, self.timeout)
    }

    /// Replace a server's reader.
    pub fn restart(&self, server: &str) -> Result<Map, Error> {
        self.rpc.call("restart", &Map::from([("server", server)]), self.timeout)
    }

    /// Ask the daemon, not Asterisk, for a sign of life.
    pub fn ping(&self) -> Result<Map, Error> {
        self.rpc.call("ping", &Map::default(), self.timeout)
    }

    /// Call any method of the daemon. This client waits for its own timeout; one for the daemon goes into `params`.
    pub fn call(&self, method: &str, params: impl Into<Map>) -> Result<Value, Error> {
        self.rpc.call(method, &params.into(), self.timeout)
    }

    /// Events of a server as they come: those with these names, or all when there are none. The server may be left out when there
    /// is one. Whatever comes once this has returned is given.
    pub fn events(&self, names: &[&str], server: Option<&str>) -> Result<Events, Error> {
        Events::open(Arc::clone(&self.rpc), params(None, server, [("names", names)]))
    }

    /// The live state of a server as it changes: each item is an [`Item::Change`](crate::Item) of a thing of these kinds.
    pub fn changes(&self, kinds: &[&str], server: Option<&str>) -> Result<Events, Error> {
        let mut query = params(None, server, []);
        query.extend([("kinds", kinds)]);
        Events::open(Arc::clone(&self.rpc), query)
    }
}

/// Params without what is not set; an empty list is not.
fn params<const N: usize>(timeout: Option<Duration>, server: Option<&str>, lists: [(&str, &[&str]); N]) -> Map {
    let mut params = Map::default();
    params.extend(timeout.map(|timeout| ("timeout", timeout.as_secs_f64())));
    params.extend(server.map(|server| ("server", server)));
    params.extend(lists.into_iter().filter(|(_, list)| !list.is_empty()));
    params
}
