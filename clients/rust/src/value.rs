//! Values as MessagePack has them: what an action's fields may be, and what packets and results are made of.

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A value of a request, a result or an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A name or value that is not UTF-8; it goes through amid and Asterisk unchanged, in both directions.
    #[serde(serialize_with = "as_bytes")]
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Map),
}

macro_rules! accessors {
    ($($name:ident -> $type:ty: $kind:pat => $found:expr;)*) => {
        $(pub fn $name(&self) -> Option<$type> { if let $kind = self { Some($found) } else { None } })*
    };
}

impl Value {
    accessors! {
        as_i64 -> i64: Value::Integer(number) => *number;
        as_str -> &str: Value::Text(text) => text;
        as_list -> &[Value]: Value::List(list) => list;
        as_map -> &Map: Value::Map(map) => map;
    }

    /// The bytes of text or of what is not UTF-8.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => self.as_str().map(str::as_bytes),
        }
    }
}

/// A map whose members keep their order: a packet's headers are in the order in which Asterisk sent them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Map(#[serde(serialize_with = "as_map", deserialize_with = "members")] Vec<(Value, Value)>);

impl Map {
    /// The value under a name, which is text or bytes.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Value> {
        self.iter().find(|(key, _)| key.as_bytes() == Some(name.as_ref())).map(|(_, value)| value)
    }

    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Into<Value>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, members: I) {
        self.0.extend(members.into_iter().map(|(key, value)| (key.into(), value.into())));
    }
}

impl<K: Into<Value>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    fn from(members: [(K, V); N]) -> Map {
        Map(members.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

macro_rules! from_values {
    ($($from:ty, $value:ident => $made:expr;)*) => {
        $(impl From<$from> for Value { fn from($value: $from) -> Value { $made } })*
    };
}

from_values! {
    bool, value => Value::Bool(value);
    i64, value => Value::Integer(value);
    f64, value => Value::Float(value);
    &str, value => Value::Text(value.to_owned());
    &[u8], value => Value::Bytes(value.to_vec());
    &[&str], value => Value::List(value.iter().copied().map(Value::from).collect());
    Vec<Value>, value => Value::List(value);
    Map, value => Value::Map(value);
}

fn as_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

fn as_map<S: Serializer>(members: &[(Value, Value)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(members.iter().map(|(key, value)| (key, value)))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        from.deserialize_any(AnyVisitor)
    }
}

fn members<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Value, Value)>, D::Error> {
    match Value::deserialize(from)? {
        Value::Map(Map(members)) => Ok(members),
        _ => Err(D::Error::custom("it is no map")),
    }
}

struct AnyVisitor;

macro_rules! visits {
    ($($visit:ident($from:ty))*) => { $(fn $visit<E>(self, value: $from) -> Result<Value, E> { Ok(value.into()) })* };
}

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of amid")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    // MessagePack text that is not UTF-8, as some languages send it, comes as bytes too.
    visits! { visit_bool(bool) visit_i64(i64) visit_f64(f64) visit_str(&str) visit_bytes(&[u8]) }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        std::iter::from_fn(|| items.next_element().transpose()).collect::<Result<_, _>>().map(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        std::iter::from_fn(|| members.next_entry().transpose()).collect::<Result<_, _>>().map(|map| Value::Map(Map(map)))
    }
}
