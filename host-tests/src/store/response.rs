//! Responses in protobuf's JSON mapping: zero, false and empty values are omitted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::tables::Row;

/// A message of protobuf as JSON.
#[derive(Debug, Default)]
pub(super) struct Message(Map<String, Value>);

impl Message {
    pub(super) fn new() -> Message {
        Message::default()
    }

    pub(super) fn long(mut self, name: &str, value: i64) -> Message {
        if value != 0 {
            self.0.insert(name.to_owned(), value.to_string().into());
        }
        self
    }

    pub(super) fn unsigned(mut self, name: &str, value: u64) -> Message {
        if value != 0 {
            self.0.insert(name.to_owned(), value.to_string().into());
        }
        self
    }

    pub(super) fn flag(mut self, name: &str, value: bool) -> Message {
        if value {
            self.0.insert(name.to_owned(), true.into());
        }
        self
    }

    pub(super) fn bytes(mut self, name: &str, value: &[u8]) -> Message {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), STANDARD.encode(value).into());
        }
        self
    }

    pub(super) fn message(mut self, name: &str, value: Message) -> Message {
        self.0.insert(name.to_owned(), value.0.into());
        self
    }

    pub(super) fn list(mut self, name: &str, values: impl IntoIterator<Item = Message>) -> Message {
        let values: Vec<Value> = values.into_iter().map(|message| message.0.into()).collect();
        if !values.is_empty() {
            self.0.insert(name.to_owned(), values.into());
        }
        self
    }

    pub(super) fn list_of_bytes(mut self, name: &str, values: &[Vec<u8>]) -> Message {
        if !values.is_empty() {
            let values: Vec<Value> = values.iter().map(|value| STANDARD.encode(value).into()).collect();
            self.0.insert(name.to_owned(), values.into());
        }
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Serializing strings and booleans cannot fail.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

/// A key with its row.
pub(super) type Pair = (Vec<u8>, Row);

/// Returns a key with its row, `mvccpb.KeyValue`.
pub(super) fn key_value((key, row): &Pair, with_value: bool) -> Message {
    let Row { created, modified, version, lease, value } = row;
    let message = Message::new()
        .bytes("key", key)
        .long("create_revision", *created)
        .long("mod_revision", *modified)
        .long("version", *version)
        .long("lease", *lease);
    if with_value { message.bytes("value", value) } else { message }
}
