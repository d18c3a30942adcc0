//! Actions, and what Asterisk answers to them.

use crate::value::{Map, Value};
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

/// An action to send: `Action::new("Originate").header("Channel", "PJSIP/100").header("Async", true)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use = "it is sent by Client::action"]
pub struct Action {
    #[serde(rename = "action")]
    name: Value,
    fields: Map,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(serialize_with = "in_seconds", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl Action {
    pub fn new(name: impl Into<Value>) -> Action {
        Action {
            name: name.into(),
            fields: Map::new(),
            server: None,
            timeout: None,
            until: None,
        }
    }

    /// Add a header: text, bytes, a number or a boolean. One that is added again is repeated.
    pub fn header(mut self, name: impl Into<Value>, value: impl Into<Value>) -> Action {
        self.fields.add(name, value);
        self
    }

    /// Have these headers, in place of those that it had. A value may be a list, for a header that is repeated.
    pub fn fields(mut self, fields: impl Into<Map>) -> Action {
        self.fields = fields.into();
        self
    }

    /// The server to send it to; it may be left out when there is one.
    pub fn server(mut self, server: impl Into<String>) -> Action {
        self.server = Some(server.into());
        self
    }

    /// How long to wait for the answer, an hour at most; the client's timeout when it is left out.
    pub fn timeout(mut self, timeout: Duration) -> Action {
        self.timeout = Some(timeout);
        self
    }

    /// The name of a later event with this ActionID to wait for as well, such as `OriginateResponse`.
    pub fn until(mut self, event: impl Into<String>) -> Action {
        self.until = Some(event.into());
        self
    }
}

impl From<&str> for Action {
    /// An action without headers.
    fn from(name: &str) -> Action {
        Action::new(name)
    }
}

fn in_seconds<S: Serializer>(timeout: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    timeout.map(|timeout| timeout.as_secs_f64()).serialize(to)
}

/// The whole answer to an action. Packets are maps from header name to text, to bytes where it is not UTF-8, and to a list for a
/// header that occurs more than once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    pub server: String,
    /// As Asterisk saw it.
    pub action_id: String,
    pub response: Map,
    /// The items of a list.
    pub events: Vec<Map>,
    /// The event that closed the list.
    pub complete: Option<Map>,
    /// The lines of a Command.
    pub output: Vec<Value>,
    /// The later event that was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Map>,
    /// How long it took, in seconds.
    pub elapsed: f64,
}
