//! The JSON of etcd: base64 keys and values, 64-bit integers as strings, zero and empty values omitted.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::EtcdError;

pub(super) const RANGE: &str = "/v3/kv/range";
pub(super) const TXN: &str = "/v3/kv/txn";
pub(super) const AUTHENTICATE: &str = "/v3/auth/authenticate";

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub key: String,
    pub value: Vec<u8>,
    /// Revision of the last put.
    pub revision: u64,
}

/// The result of a range request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pairs {
    pub pairs: Vec<Pair>,
    /// True if the limit was reached and more keys follow.
    pub more: bool,
    /// Revision of the store at the time of the read.
    pub revision: u64,
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Returns the end of the range of all keys with a prefix that ends with `/`.
pub(super) fn prefix_end(prefix: &str) -> String {
    let stem = prefix.strip_suffix('/').unwrap_or(prefix);
    format!("{stem}0")
}

pub(super) fn range(key: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("key".to_owned(), encode(key).into());
    fields
}

pub(super) fn span(from: &str, to: &str) -> Map<String, Value> {
    let mut fields = range(from);
    fields.insert("range_end".to_owned(), encode(to).into());
    fields
}

pub(super) fn number(fields: &mut Map<String, Value>, name: &str, value: u64) {
    fields.insert(name.to_owned(), format!("{value}").into());
}

pub(super) fn put(key: &str, value: &str) -> Value {
    json!({ "request_put": { "key": encode(key), "value": encode(value) } })
}

/// A parsed response of etcd.
#[derive(Debug)]
pub struct EtcdReply(Value);

impl EtcdReply {
    /// Parses a response body. A body that is not JSON has no fields.
    pub fn new(body: &[u8]) -> EtcdReply {
        EtcdReply(serde_json::from_slice(body).unwrap_or_default())
    }

    #[inline(never)]
    pub(super) fn fields(&self) -> Result<&Map<String, Value>, EtcdError> {
        self.0.as_object().ok_or_else(|| unreadable("the response of etcd"))
    }
}

#[inline(never)]
pub(super) fn unreadable(what: &str) -> EtcdError {
    EtcdError::Unreadable { what: what.to_owned() }
}

/// Returns the store's revision, which is part of every response.
pub(super) fn revision(fields: &Map<String, Value>) -> Result<u64, EtcdError> {
    fields
        .get("header")
        .and_then(|header| long(header.get("revision")))
        .filter(|revision| *revision > 0)
        .ok_or_else(|| unreadable("the revision in the response of etcd"))
}

/// Returns the number of the cluster, which is part of every response.
pub(super) fn cluster(fields: &Map<String, Value>) -> Result<u64, EtcdError> {
    let cluster = fields.get("header").and_then(|header| long(header.get("cluster_id")));
    cluster.ok_or_else(|| unreadable("the cluster in the response of etcd"))
}

/// Reads a positive 64-bit integer.
pub(super) fn positive(value: Option<&Value>) -> Option<u64> {
    long(value).filter(|number| *number > 0)
}

/// Reads a 64-bit integer in protobuf's JSON mapping: a string; omitted if 0.
fn long(value: Option<&Value>) -> Option<u64> {
    match value {
        None => Some(0),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(number) => number.as_u64(),
    }
}

/// Reads the response to a range request.
pub(super) fn pairs(fields: &Map<String, Value>) -> Result<Pairs, EtcdError> {
    let revision = revision(fields)?;
    let more = fields.get("more").and_then(Value::as_bool).unwrap_or(false);
    let pairs = match fields.get("kvs") {
        None => Vec::new(),
        Some(Value::Array(pairs)) => pairs.iter().map(pair).collect::<Result<_, _>>()?,
        Some(_) => return Err(unreadable("the response of etcd to a range request")),
    };
    Ok(Pairs { pairs, more, revision })
}

fn pair(json: &Value) -> Result<Pair, EtcdError> {
    let bytes = |name: &str| match json.get(name) {
        None => Some(Vec::new()),
        Some(text) => STANDARD.decode(text.as_str()?).ok(),
    };
    let read = || {
        let key = String::from_utf8(bytes("key")?).ok()?;
        Some(Pair { key, value: bytes("value")?, revision: long(json.get("mod_revision"))? })
    };
    read().ok_or_else(|| unreadable("a key in the response of etcd"))
}

/// Returns the pairs of the range request at this position of a transaction's executed branch.
pub(super) fn nested(fields: &Map<String, Value>, position: usize) -> Result<Vec<Pair>, EtcdError> {
    let missing = || unreadable("the response of etcd to a transaction");
    let one = fields.get("responses").and_then(|all| all.get(position)).ok_or_else(missing)?;
    match one.get("response_range").ok_or_else(missing)?.get("kvs") {
        None => Ok(Vec::new()),
        Some(pairs) => pairs.as_array().ok_or_else(missing)?.iter().map(pair).collect(),
    }
}
