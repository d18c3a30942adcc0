//! The harness of the Rust client; clients/CONFORMANCE.md says what it does.

use amid::{Client, Error, Item, Map, Options, Value};
use serde::Serialize;
use serde_json::{json, Value as Json};
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What marks bytes, which JSON has not.
const MARK: &str = "$bin";

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let client = Client::new(std::env::args().nth(1).map(Into::into));
    for line in io::stdin().lock().lines() {
        let asked: Json = serde_json::from_str(&line?)?;
        match asked["do"].as_str() {
            Some("decode") => say(decode(&asked)?)?,
            Some("encode") => say(encode(&asked)?)?,
            Some("call") => say(call(&client, &asked)?)?,
            Some("calls") => say(calls(&client, &asked))?,
            Some("events") => events(&client, &asked)?,
            Some("changes") => say(changes(&client, &asked).map_or_else(|error| failure(&error), |()| json!({ "end": true })))?,
            _ => return Err(format!("cannot do {}", asked["do"]).into()),
        }
    }
    Ok(())
}

fn say(answer: Json) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}

// ── bodies ─────────────────────────────────────────────────────────────────────────────────────

fn decode(asked: &Json) -> Result<Json, rmp_serde::decode::Error> {
    let value: Value = rmp_serde::from_slice(&bytes(text(asked, "hex")))?;
    Ok(json!({ "value": shown(&value) }))
}

fn encode(asked: &Json) -> Result<Json, rmp_serde::encode::Error> {
    let packed = rmp_serde::to_vec_named(&meant(&asked["value"]))?;
    Ok(json!({ "hex": hex(&packed) }))
}

// ── calls ───────────────────────────────────────────────────────────────────────────────────────

fn call(client: &Client, asked: &Json) -> Result<Json, Error> {
    match result(client, text(asked, "method"), &asked["params"]) {
        Ok(value) => Ok(json!({ "result": shown(&value) })),
        Err(error) => Ok(failure(&error)),
    }
}

fn result(client: &Client, method: &str, params: &Json) -> Result<Value, Error> {
    let server = params["server"].as_str();
    let client = params["timeout"].as_f64().map_or_else(|| client.clone(), |s| client.with_timeout(Duration::from_secs_f64(s)));
    match method {
        "action" => client.action(meant(&params["action"]), map(&params["fields"]), options(params)).map(Value::from),
        "servers" => Ok(list(client.servers()?)),
        "status" => client.status().map(Value::from),
        "actions" => Ok(list(client.actions(server)?)),
        "state" => client.state(&texts(&params["kinds"]), &texts(&params["where"]), server).map(Value::from),
        "restart" => client.restart(text(params, "server")).map(Value::from),
        "ping" => client.ping().map(Value::from),
        _ => client.call(method, map(params)),
    }
}

fn options(params: &Json) -> Options<'_> {
    Options { server: params["server"].as_str(), until: params["until"].as_str(), raw: params["raw"] == true }
}

fn list(maps: Vec<Map>) -> Value {
    Value::List(maps.into_iter().map(Value::from).collect())
}

/// A result as the wire has it.
fn value_of(result: &impl Serialize) -> Value {
    let packed = rmp_serde::to_vec_named(result).expect("all of it is MessagePack");
    rmp_serde::from_slice(&packed).expect("it was packed here")
}

fn failure(error: &Error) -> Json {
    let response = error.response.as_deref().map(|packet| shown(&packet.clone().into()));
    let members = [
        ("kind", Some(json!(error.kind))),
        ("sent", Some(json!(error.sent))),
        ("message", Some(json!(error.message))),
        ("server", error.server.as_ref().map(|server| json!(server))),
        ("action_id", error.action_id.as_ref().map(|id| json!(id))),
        ("response", response),
    ];
    let shown: Json = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    json!({ "error": shown })
}

/// Threads that share the client, each taking the next number.
fn calls(client: &Client, asked: &Json) -> Json {
    let (count, at_once) = (number(asked, "count"), number(asked, "at_once"));
    let (next, right) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                for number in std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|number| *number < count) {
                    right.fetch_add(u64::from(has_own_answer(client, number)), Ordering::Relaxed);
                }
            });
        }
    });
    let right = right.into_inner();
    json!({ "right": right, "wrong": count - right, "at_once": at_once })
}

fn has_own_answer(client: &Client, number: u64) -> bool {
    let own = format!("own-{number}");
    let options = Options { server: Some("pbx1"), ..Options::default() };
    let answer = client.action("Ping", [("ActionID", own.as_str())], options);
    let response =
        |answer: Map| answer.get("response").and_then(Value::as_map).and_then(|packet| packet.text("ActionID").map(str::to_owned));
    answer.ok().and_then(response) == Some(own)
}

// ── events ──────────────────────────────────────────────────────────────────────────────────────

fn events(client: &Client, asked: &Json) -> Outcome {
    let timeout = Duration::from_secs_f64(asked["timeout"].as_f64().ok_or("no timeout")?);
    let mut stream = client.events(&texts(&asked["names"]), asked["server"].as_str())?;
    say(json!({ "listening": true }))?;
    let (mut left, mut lost) = (number(asked, "count"), 0);
    while left > 0 {
        match stream.next_within(timeout)? {
            Some(Item::Event(event)) => {
                left -= 1;
                say(json!({ "event": shown(&value_of(&event)) }))?;
            }
            Some(Item::Gap { server, epoch, after, missed }) => {
                lost += missed.unwrap_or_default();
                say(json!({ "gap": { "server": server, "epoch": epoch, "after": after, "missed": missed } }))?;
            }
            _ => break,
        }
    }
    Ok(say(json!({ "end": true, "missed": lost }))?)
}

/// Ends without an error after so many resets.
fn changes(client: &Client, asked: &Json) -> Result<(), Error> {
    let timeout = Duration::from_secs_f64(asked["timeout"].as_f64().unwrap_or_default());
    let mut stream = client.changes(&texts(&asked["kinds"]), asked["server"].as_str())?;
    let mut left = number(asked, "resets");
    while left > 0 {
        let change = match stream.next_within(timeout)? {
            Some(Item::Change(change)) => change,
            other => return Err(no_change(&other)),
        };
        left -= u64::from(change.kind == "reset");
        say(json!({ "change": shown(&value_of(&change)) })).expect("the suite reads it");
    }
    Ok(())
}

fn no_change(came: &Option<Item>) -> Error {
    let message = format!("no change, but {came:?}");
    Error { kind: "timeout".into(), message, sent: false, server: None, action_id: None, response: None }
}

// ── members of a line ───────────────────────────────────────────────────────────────────────────

fn text<'a>(line: &'a Json, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

fn number(line: &Json, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_default()
}

/// The texts of a list, or one text; null is none.
fn texts(value: &Json) -> Vec<&str> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter().filter_map(Json::as_str).collect()
}

fn map(line: &Json) -> Map {
    meant(line).as_map().cloned().unwrap_or_default()
}

// ── values as lines have them ───────────────────────────────────────────────────────────────────

/// A value as a line has it.
fn shown(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Bytes(value) => json!({ MARK: hex(value) }),
        Value::List(values) => values.iter().map(shown).collect(),
        Value::Map(map) => map.iter().map(|(name, value)| (shown_name(name), shown(value))).collect(),
    }
}

fn shown_name(name: &Value) -> String {
    name.as_str().map_or_else(|| format!("{MARK}:{}", hex(name.as_bytes().unwrap_or_default())), str::to_owned)
}

/// The value that a line means.
fn meant(line: &Json) -> Value {
    match line {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => value.as_i64().map_or_else(|| Value::Float(value.as_f64().unwrap_or_default()), Value::Integer),
        Json::String(value) => value.as_str().into(),
        Json::Array(values) => Value::List(values.iter().map(meant).collect()),
        Json::Object(members) => match members.get(MARK) {
            Some(marked) => Value::Bytes(bytes(marked.as_str().unwrap_or_default())),
            None => {
                let mut map = Map::default();
                map.extend(members.iter().map(|(name, value)| (meant_name(name), meant(value))));
                Value::Map(map)
            }
        },
    }
}

fn meant_name(name: &str) -> Value {
    match name.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(':')) {
        Some(marked) => Value::Bytes(bytes(marked)),
        None => name.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect()
}
