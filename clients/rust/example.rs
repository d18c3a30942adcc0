//! One action, the live state, and then three events: cargo run --example example [RUN_DIR]
//!
//! With Debian's packages in place of crates.io (clients/README.md lists them), in this directory:
//! cargo run --example example --offline --config 'source.crates-io.replace-with="debian"' \
//!     --config 'source.debian.directory="/usr/share/cargo/registry"'

use amid::{Client, Error, Item, Map, Options, Value};
use std::time::Duration;

fn main() -> Result<(), Error> {
    let client = Client::new(std::env::args().nth(1).map(Into::into));
    let answer = client.action("CoreStatus", Map::default(), Options::default())?;
    println!("{:?}", answer.get("response").and_then(Value::as_map));

    let state = client.state(&["channels", "calls"], &[], None)?;
    println!("{} calls now", state.get("calls").and_then(Value::as_list).map_or(0, <[Value]>::len));
    let mut changes = client.changes(&["calls"], None)?; // the first is a reset, the whole state; then each change comes
    if let Some(Item::Change(change)) = changes.next_within(Duration::from_secs(10))? {
        println!("{} {:?} {} {:?}", change.kind, change.id, change.gone, change.set);
    }

    let mut events = client.events(&[], None)?;
    for _ in 0..3 {
        match events.next_within(Duration::from_secs(10))? {
            Some(Item::Event(event)) => println!("{} {:?}", event.event, event.fields),
            Some(gap) => println!("lost: {gap:?}"),
            None => break,
        }
    }
    Ok(())
}
