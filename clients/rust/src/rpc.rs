//! The way of one call to the daemon and back.
//!
//! A call borrows a DEALER socket of its own and gives it back when it has its answer, so a client may be used from several threads
//! at once and one slow call holds up no other. A socket whose call got no answer is closed, and with it goes whatever comes late.
//! With `ZMQ_IMMEDIATE` nothing is queued for a broker that is not there, and so `unreachable` really means that nothing was sent.

use crate::error::{Error, ErrorReply, Kind};
use crate::place;
use crate::value::Value;
use crate::wire;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Until a request must be with a broker; after that nobody is there, and nothing was sent.
const HANDOVER: Duration = Duration::from_secs(1);
/// How long an answer may come after the call's timeout, for the way to the broker and back.
const MARGIN: Duration = Duration::from_secs(1);
/// How long a call may take unless its caller says otherwise; the daemon has the same default.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest timeout that the daemon accepts.
const LONGEST: Duration = Duration::from_secs(3600);

/// A daemon's address and the sockets to it that no call uses now.
pub(crate) struct Rpc {
    run_dir: Option<PathBuf>,
    pub context: zmq::Context,
    idle: Mutex<Vec<zmq::Socket>>,
    last_id: AtomicI64,
}

/// What is known of a call besides its params.
pub(crate) struct Call<'a> {
    pub method: &'a str,
    /// The server that it is for, when it names one.
    pub server: Option<&'a str>,
    pub timeout: Duration,
}

impl Rpc {
    pub fn new(run_dir: Option<PathBuf>) -> Rpc {
        Rpc {
            run_dir,
            context: zmq::Context::new(),
            idle: Mutex::default(),
            last_id: AtomicI64::new(0),
        }
    }

    pub fn call<T: DeserializeOwned>(&self, call: &Call, params: &impl Serialize) -> Result<T, Error> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let request = wire::pack(&Request {
            jsonrpc: "2.0",
            id,
            method: call.method,
            params,
        })?;
        let socket = self.borrow()?;
        hand_over(&socket, request).map_err(|error| no_broker(&endpoint(&socket), error))?;
        let answer = answer(&socket, id, call.patience()).ok_or_else(|| call.no_answer(&endpoint(&socket)))?;
        self.idle().push(socket);
        call.outcome(&answer)
    }

    fn borrow(&self) -> Result<zmq::Socket, Error> {
        let idle = self.idle().pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn connect(&self) -> Result<zmq::Socket, Error> {
        let endpoint = place::find(self.run_dir.as_deref())?;
        dealer(&self.context, &endpoint).map_err(|error| no_broker(&endpoint, error))
    }

    /// A list of sockets is as good as before, whatever a thread died of.
    fn idle(&self) -> MutexGuard<'_, Vec<zmq::Socket>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// How long to wait for its answer. A timeout that the daemon will refuse is refused soon, so that answer is worth waiting for.
    fn patience(&self) -> Duration {
        let sound = !self.timeout.is_zero() && self.timeout <= LONGEST;
        MARGIN + if sound { self.timeout } else { TIMEOUT }
    }

    /// The broker has the request and said nothing, although it promises to: it is stopped, or was replaced meanwhile.
    fn no_answer(&self, endpoint: &str) -> Error {
        let (method, patience) = (self.method, self.patience());
        let message = format!("the daemon at {endpoint} took {method} and gave no answer within {patience:?}: see `amid status`");
        Error {
            sent: self.acts(),
            server: self.server.map(str::to_owned),
            ..Error::new(Kind::Timeout, message)
        }
    }

    fn outcome<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, Error> {
        let unknown = |message| Error {
            sent: self.acts(),
            ..Error::new(Kind::InternalError, message)
        };
        let reply: Reply<T> = wire::unpack(answer).map_err(|error| unknown(error.message))?;
        match reply {
            Reply { error: Some(error), .. } => Err(error.into()),
            Reply {
                result: Some(result), ..
            } => Ok(result),
            _ => Err(unknown("the answer has no result".into())),
        }
    }

    /// Whether it may have changed something.
    fn acts(&self) -> bool {
        matches!(self.method, "action" | "restart")
    }
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'a str,
    id: i64,
    method: &'a str,
    params: &'a P,
}

#[derive(Deserialize)]
struct Reply<T> {
    result: Option<T>,
    error: Option<ErrorReply>,
}

#[derive(Deserialize)]
struct ReplyHead {
    id: Option<Value>,
}

/// A reply without an id can only be ours too: the socket has one call at a time.
fn is_reply_to(id: i64, body: &[u8]) -> bool {
    match wire::unpack(body) {
        Ok(ReplyHead { id: given }) => given.map_or(true, |given| given == id.into()),
        Err(error) => {
            log::warn!("ignored a message of {} bytes that is no reply of amid: {error}", body.len());
            false
        }
    }
}

fn no_broker(endpoint: &str, error: zmq::Error) -> Error {
    Error::unreachable(format_args!("no amid daemon answers at {endpoint} ({error})"))
}

// ── sockets ─────────────────────────────────────────────────────────────────────────────────────

fn dealer(context: &zmq::Context, endpoint: &str) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    socket.set_immediate(true)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

fn endpoint(socket: &zmq::Socket) -> String {
    let last = socket.get_last_endpoint().ok().and_then(Result::ok);
    last.unwrap_or_default()
}

/// Give a request to a broker. A DEALER sends the empty frame itself that a REQ would send.
fn hand_over(socket: &zmq::Socket, request: Vec<u8>) -> zmq::Result<()> {
    if !wait(socket, zmq::POLLOUT, Instant::now() + HANDOVER) {
        return Err(zmq::Error::EAGAIN);
    }
    socket.send_multipart([Vec::new(), request], zmq::DONTWAIT)
}

/// The reply to this request, or None when it did not come.
fn answer(socket: &zmq::Socket, id: i64, patience: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + patience;
    while wait(socket, zmq::POLLIN, deadline) {
        let body = socket.recv_multipart(zmq::DONTWAIT).ok()?.pop()?;
        if is_reply_to(id, &body) {
            return Some(body);
        }
    }
    None
}

/// Whether a socket is ready before the deadline. A signal may end a poll early, such as the one that wakes a stopped process.
pub(crate) fn wait(socket: &zmq::Socket, ready: zmq::PollEvents, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match socket.poll(ready, left.as_millis() as i64 + 1) {
            Ok(count) if count > 0 => return true,
            Err(zmq::Error::EINTR) => {}
            Ok(_) if !left.is_zero() => {}
            _ => return false,
        }
    }
}
