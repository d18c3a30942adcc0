//! The one error of this client: what happened, and whether Asterisk may have seen the action.

use crate::value::Map;
use serde::Deserialize;
use std::fmt;

/// A call that did not end well.
///
/// `sent` is the word that matters to a dialer. False: Asterisk never saw the action, and trying again is safe. True: it may have
/// been carried out, so a second try may be a second phone call. This client never sends anything twice by itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Error {
    pub kind: Kind,
    pub message: Box<str>,
    pub sent: bool,
    /// Where it happened, when that is known.
    pub server: Option<String>,
    /// Under which ActionID Asterisk saw the action, when that is known.
    pub action_id: Option<String>,
    /// Asterisk's own packet, for [`Kind::ActionFailed`], and for [`Kind::Timeout`] when only the `until` event was missing.
    pub response: Option<Box<Map>>,
    /// With [`Kind::Gone`]: the first number of that epoch that `replay` still has, when there is one.
    pub oldest: Option<u64>,
}

/// What happened. The kinds are those of clients/README.md.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    ParseError,
    InvalidRequest,
    UnknownMethod,
    InvalidParams,
    InternalError,
    ActionFailed,
    Timeout,
    NotConnected,
    ConnectionLost,
    Busy,
    Denied,
    UnknownServer,
    TooLarge,
    Gone,
    /// This client found no daemon to talk to, and nothing was sent.
    Unreachable,
    /// A kind of a later daemon's: go by `sent`.
    Other(Box<str>),
}

const KINDS: [(Kind, &str); 15] = [
    (Kind::ParseError, "parse_error"),
    (Kind::InvalidRequest, "invalid_request"),
    (Kind::UnknownMethod, "unknown_method"),
    (Kind::InvalidParams, "invalid_params"),
    (Kind::InternalError, "internal_error"),
    (Kind::ActionFailed, "action_failed"),
    (Kind::Timeout, "timeout"),
    (Kind::NotConnected, "not_connected"),
    (Kind::ConnectionLost, "connection_lost"),
    (Kind::Busy, "busy"),
    (Kind::Denied, "denied"),
    (Kind::UnknownServer, "unknown_server"),
    (Kind::TooLarge, "too_large"),
    (Kind::Gone, "gone"),
    (Kind::Unreachable, "unreachable"),
];

impl Error {
    /// An error of which no more is known, and of which Asterisk saw nothing.
    pub(crate) fn new(kind: Kind, message: impl Into<Box<str>>) -> Error {
        Error {
            kind,
            message: message.into(),
            sent: false,
            server: None,
            action_id: None,
            response: None,
            oldest: None,
        }
    }

    pub(crate) fn unreachable(what: impl fmt::Display) -> Error {
        let advice = "start one with `amid run`, or name its directory with AMID_RUN_DIR";
        Error::new(Kind::Unreachable, format!("{what}: {advice}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Kind {
    /// The kind as the wire has it, such as `not_connected`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = KINDS.iter().find(|(kind, _)| kind == self).map(|(_, name)| *name);
        match self {
            Kind::Other(name) => f.write_str(name),
            _ => f.write_str(known.unwrap_or_default()),
        }
    }
}

impl From<String> for Kind {
    fn from(name: String) -> Kind {
        let known = KINDS.into_iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Kind::Other(name.into()), |(kind, _)| kind)
    }
}

// ── as a reply has it ───────────────────────────────────────────────────────────────────────────

/// The `error` of a reply. Whatever a daemon leaves out is taken for the worse.
#[derive(Deserialize)]
pub(crate) struct ErrorReply {
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: ErrorData,
}

#[derive(Default, Deserialize)]
struct ErrorData {
    kind: Option<String>,
    sent: Option<bool>,
    server: Option<String>,
    action_id: Option<String>,
    response: Option<Box<Map>>,
    oldest: Option<u64>,
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Error {
        let data = reply.data;
        Error {
            kind: data.kind.map_or(Kind::InternalError, Kind::from),
            message: reply.message.into(),
            sent: data.sent.unwrap_or(true),
            server: data.server,
            action_id: data.action_id,
            response: data.response,
            oldest: data.oldest,
        }
    }
}
