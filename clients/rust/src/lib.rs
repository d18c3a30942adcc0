//! A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX. [`Client`] is where to begin, and
//! clients/README.md has what goes over the sockets.
//!
//! ```no_run
//! use amid::{Client, Item, Options};
//! let client = Client::new(None);
//! client.action("QueueAdd", [("Queue", "support"), ("Interface", "PJSIP/100")], Options::default())?;
//! for item in client.events(&["Hangup"], None)? {
//!     match item? {
//!         Item::Event(event) => println!("{:?} hung up", event.fields.text("Channel")),
//!         other => println!("{other:?}"), // events were lost
//!     }
//! }
//! # Ok::<(), amid::Error>(())
//! ```

mod client;
mod events;
mod rpc;
mod value;

pub use client::{Client, Options};
pub use events::{Change, Event, Events, Item};
pub use rpc::Error;
pub use value::{Map, Value};
