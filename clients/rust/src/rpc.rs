//! The way of one call to the daemon and back. It borrows a DEALER socket and gives it back with its answer, so that one slow call
//! holds up no other. A socket whose call got no answer is closed, and with it goes whatever comes late. With `ZMQ_IMMEDIATE` nothing
//! is queued for a broker that is not there, and so `unreachable` really means that nothing was sent.

use crate::value::{Map, Value};
use serde::{de::DeserializeOwned, Deserialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fmt, fs, os::unix::fs::FileTypeExt, sync::Mutex};

pub(crate) const SECOND: Duration = Duration::from_secs(1); // until a request is with a broker, and that its answer may come late
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5); // of a call, unless its caller says otherwise, and of a request for events
const MAX_TIMEOUT: Duration = Duration::from_secs(3600); // the longest timeout that the daemon accepts
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// A call that failed. `sent` false: Asterisk never saw the action, and trying again is safe. True: it may have been carried out, so a
/// second try may be a second phone call. This client never sends anything twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// A kind of clients/README.md, or `unreachable`: there is no daemon, and nothing was sent. A later daemon may have new ones.
    pub kind: String,
    pub message: String,
    pub sent: bool,
    pub server: Option<String>,     // where it happened, when that is known
    pub action_id: Option<String>,  // under which Asterisk saw the action, when that is known
    pub response: Option<Box<Map>>, // Asterisk's own packet, for `action_failed` and a `timeout` of `until`
}

impl Error {
    /// An error of which no more is known, and of which Asterisk saw nothing.
    fn new(kind: &str, message: String) -> Error {
        Error { kind: kind.into(), message, sent: false, server: None, action_id: None, response: None }
    }

    fn unreachable(what: impl fmt::Display) -> Error {
        Error::new("unreachable", format!("{what}: start one with `amid run`, or name its directory with AMID_RUN_DIR"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Map> for Error {
    /// The `error` of a reply. Whatever a daemon leaves out is taken for the worse.
    fn from(error: Map) -> Error {
        let data = error.get("data").and_then(Value::as_map).cloned().unwrap_or_default();
        let text = |name| data.text(name).map(str::to_owned);
        Error {
            kind: text("kind").unwrap_or_else(|| "internal_error".into()),
            message: error.text("message").unwrap_or_default().into(),
            sent: data.get("sent") != Some(&Value::Bool(false)),
            server: text("server"),
            action_id: text("action_id"),
            response: data.get("response").and_then(Value::as_map).cloned().map(Box::new),
        }
    }
}

/// A daemon's address and the sockets to it that no call uses now.
#[derive(Default)]
pub(crate) struct Rpc {
    pub run_dir: Option<PathBuf>,
    pub context: zmq::Context,
    pub idle: Mutex<Vec<zmq::Socket>>,
    pub last_id: AtomicI64,
}

#[derive(Deserialize)]
struct Reply<T> {
    id: Option<i64>,
    result: Option<T>,
    error: Option<Map>,
}

impl Rpc {
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: &Map, timeout: Duration) -> Result<T, Error> {
        // A timeout that the daemon will refuse is refused soon, so that answer is worth waiting for.
        let limit = SECOND + if timeout.is_zero() || timeout > MAX_TIMEOUT { TIMEOUT } else { timeout };
        let socket = self.idle.lock().ok().and_then(|mut idle| idle.pop()).map_or_else(|| self.connect(), Ok)?;
        let id = self.send(&socket, method, params, Instant::now() + SECOND)?;
        let deadline = Instant::now() + limit;
        while let Some((own, result)) = receive(&socket, deadline) {
            // A reply without an id can only be ours too: the socket has one call at a time.
            if own.map_or(true, |own| own == id) {
                self.idle.lock().map(|mut idle| idle.push(socket)).ok(); // it is poisoned when a thread died there
                return result;
            }
        }
        let message = format!("the daemon took {method} and gave no answer within {limit:?}: see `amid status`");
        let server = params.text("server").map(str::to_owned);
        Err(Error { sent: matches!(method, "action" | "restart"), server, ..Error::new("timeout", message) })
    }

    pub fn connect(&self) -> Result<zmq::Socket, Error> {
        let endpoint = find_endpoint(self.run_dir.as_deref())?;
        let refused = |error| Error::unreachable(format_args!("no amid daemon answers at {endpoint} ({error})"));
        let socket = self.context.socket(zmq::DEALER).map_err(refused)?;
        let set = socket.set_linger(0).and_then(|()| socket.set_immediate(true));
        set.and_then(|()| socket.connect(&endpoint)).map(|()| socket).map_err(refused)
    }

    /// Give a request to a broker, behind the empty frame that a DEALER sends itself, before `end`. Returns its id.
    pub fn send(&self, socket: &zmq::Socket, method: &str, params: &Map, end: Instant) -> Result<i64, Error> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let invalid = |error| Error::new("invalid_params", format!("{method}: a value cannot be put into a request: {error}"));
        let members: [(&str, Value); 4] =
            [("jsonrpc", "2.0".into()), ("id", id.into()), ("method", method.into()), ("params", params.clone().into())];
        let request = rmp_serde::to_vec_named(&Map::from(members)).map_err(invalid)?;
        if request.len() > MAX_REQUEST_BYTES {
            return Err(Error::new("invalid_request", format!("{method}: the request has more than {MAX_REQUEST_BYTES} bytes")));
        }
        let taken = wait(socket, zmq::POLLOUT, end) && socket.send_multipart([Vec::new(), request], zmq::DONTWAIT).is_ok();
        let endpoint = || socket.get_last_endpoint().ok().and_then(Result::ok).unwrap_or_default();
        taken.then_some(id).ok_or_else(|| Error::unreachable(format_args!("no amid daemon answers at {}", endpoint())))
    }
}

/// The next reply before the deadline: its id, and what it brings.
pub(crate) fn receive<T: DeserializeOwned>(socket: &zmq::Socket, deadline: Instant) -> Option<(Option<i64>, Result<T, Error>)> {
    while wait(socket, zmq::POLLIN, deadline) {
        let body = socket.recv_multipart(zmq::DONTWAIT).ok()?.pop()?;
        match rmp_serde::from_slice(&body) {
            Ok(Reply { id, result: Some(result), .. }) => return Some((id, Ok(result))),
            Ok(Reply { id, error: Some(error), .. }) => return Some((id, Err(error.into()))),
            _ => log::warn!("ignored a message of {} bytes that is no reply of amid", body.len()),
        }
    }
    None
}

/// Whether a socket is ready before the deadline. A signal may end a poll early, such as the one that wakes a stopped process.
fn wait(socket: &zmq::Socket, ready: zmq::PollEvents, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match socket.poll(ready, left.as_millis() as i64 + 1) {
            Ok(count) if count > 0 => return true,
            Ok(_) | Err(zmq::Error::EINTR) if !left.is_zero() => {}
            _ => return false,
        }
    }
}

/// The endpoint of a daemon's `rpc` socket. A directory that was named, here or in `AMID_RUN_DIR`, is the only one that is looked
/// in: another could be another PBX's.
fn find_endpoint(run_dir: Option<&Path>) -> Result<String, Error> {
    let of = |variable| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || [Some("/run/amid".into()), of("XDG_RUNTIME_DIR").map(|dir| dir.join("amid"))].into_iter().flatten().collect();
    let dirs = run_dir.map(Path::to_owned).or_else(|| of("AMID_RUN_DIR")).map_or_else(usual, |named| vec![named]);
    let mut looked = String::new();
    for path in dirs.iter().map(|dir| dir.join("rpc")) {
        match fs::metadata(&path) {
            Ok(found) if found.file_type().is_socket() => return Ok(format!("ipc://{}", path.display())),
            Ok(_) => looked += &format!("; {} is no socket", path.display()),
            Err(error) => looked += &format!("; {}: {error}", path.display()),
        }
    }
    Err(Error::unreachable(format_args!("no amid daemon found{looked}")))
}
