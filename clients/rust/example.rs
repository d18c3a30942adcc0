//! One action, and then three events: cargo run --example example [RUN_DIR]

use amid::{Client, Error, Item};
use std::time::Duration;

fn main() -> Result<(), Error> {
    let client = std::env::args().nth(1).map_or_else(Client::new, Client::at);
    let answer = client.action("CoreStatus")?;
    println!(
        "{} is up since {}",
        answer.server,
        answer.response.text("CoreStartupTime").unwrap_or_default()
    );

    let mut events = client.events(&[], None)?;
    for _ in 0..3 {
        match events.next_within(Duration::from_secs(10)) {
            Some(Item::Event(event)) => println!("{} {:?}", event.event, event.fields),
            Some(Item::Gap(gap)) => println!("lost: {gap:?}"),
            None => break,
        }
    }
    Ok(())
}
