//! A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX.
//!
//! ```no_run
//! use amid::{Action, Client, Item};
//!
//! # fn main() -> Result<(), amid::Error> {
//! let client = Client::new();
//! client.action(Action::new("QueueAdd").header("Queue", "support").header("Interface", "PJSIP/100"))?;
//! for item in client.events(&["Hangup"], None)? {
//!     match item {
//!         Item::Event(event) => println!("{:?} hung up", event.fields.text("Channel")),
//!         Item::Gap(gap) => println!("{:?} events were lost", gap.missed),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What goes over the sockets is in clients/README.md; [`Client`] is where to begin.

mod action;
mod client;
mod error;
mod events;
mod feed;
pub mod gaps;
mod place;
mod recovery;
mod rpc;
mod value;
pub mod wire;

pub use action::{Action, Answer};
pub use client::{Client, Page};
pub use error::{Error, Kind};
pub use events::Events;
pub use feed::Item;
pub use gaps::Gap;
pub use value::{Map, Value};
pub use wire::Event;
