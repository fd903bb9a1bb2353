//! Reads and transactions of any keys: several independent parts in one call, each with its own comparisons.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value};

use super::kv::{self, EtcdReply, TXN};
use super::{EtcdError, Operation, Progress};
use crate::json::out_of_line::{object, text};

const DELETE: &str = "/v3/kv/deleterange";

/// Maximum number of parts of a [`Transaction`]: etcd accepts 128 operations, over all parts (`--max-txn-ops`), and bodies
/// of 1.5 MiB.
pub const MAX_PARTS: usize = 24;

/// A comparison that a part, or a whole transaction, depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The last put of this key has this revision; 0: there is no such key.
    Revision(String, u64),
    /// The key exists.
    Exists(String),
    /// The key does not exist.
    Missing(String),
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stores a value under a key, which ends with a lease if there is one.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease.
        lease: Option<u64>,
    },
    /// Removes a key.
    Delete(String),
}

/// A part of a transaction: its writes happen if its comparisons hold, otherwise its keys are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The comparisons.
    pub compares: Vec<Compare>,
    /// The writes if they hold.
    pub writes: Vec<Write>,
    /// The keys to read if they do not.
    pub reads: Vec<String>,
}

/// A key's value and the revision of its last put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision of the last put.
    pub revision: u64,
}

/// The state of the store at a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The number of the cluster. Another one: it was restored from a backup, or is another one.
    pub cluster: u64,
    /// The revision of its last write.
    pub revision: u64,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionReply {
    /// The state of the store.
    pub state: StoreState,
    /// The result of each part; `None`: the comparisons of the whole transaction did not hold, and nothing was done.
    pub parts: Option<Vec<PartReply>>,
}

/// The result of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartReply {
    /// Its writes were stored, at the revision of [`StoreState`].
    Stored,
    /// A comparison did not hold: the present values of its keys, in their order; `None`: missing.
    Stale(Vec<Option<Stored>>),
}

/// Parts that are applied together, each if its own comparisons hold, if those of the whole hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    compares: Vec<Compare>,
    parts: Vec<Part>,
}

impl Transaction {
    /// Creates the operation.
    pub fn new(compares: Vec<Compare>, parts: Vec<Part>) -> Self {
        Transaction { compares, parts }
    }
}

impl Operation for Transaction {
    type Output = TransactionReply;

    fn call(&self) -> (&'static str, String) {
        let parts: Vec<Value> = self.parts.iter().map(part).collect();
        let body = object!({ "compare": compares(&self.compares), "success": parts });
        (TXN, text(&body))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<TransactionReply>, EtcdError> {
        let fields = answer.fields()?;
        let state = state(fields)?;
        if !succeeded(fields) {
            return Ok(Progress::Done(TransactionReply { state, parts: None }));
        }
        let none = Vec::new();
        let responses = fields.get("responses").and_then(Value::as_array).unwrap_or(&none);
        if responses.len() != self.parts.len() {
            return Err(kv::unreadable("the response of etcd to a transaction"));
        }
        let parts = self.parts.iter().zip(responses).map(|(part, response)| part_reply(part, response));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(Progress::Done(TransactionReply { state, parts: Some(parts) }))
    }
}

fn part(part: &Part) -> Value {
    let writes: Vec<Value> = part.writes.iter().map(write).collect();
    let reads: Vec<Value> = part.reads.iter().map(|key| read(key)).collect();
    object!({ "request_txn": object!({
        "compare": compares(&part.compares), "success": writes, "failure": reads,
    }) })
}

fn write(write: &Write) -> Value {
    match write {
        Write::Put { key, value, lease } => {
            let mut fields = kv::range(key);
            fields.insert("value".to_owned(), kv::encode(value).into());
            if let Some(lease) = lease {
                kv::number(&mut fields, "lease", *lease);
            }
            object!({ "request_put": Value::Object(fields) })
        }
        Write::Delete(key) => object!({ "request_delete_range": Value::Object(kv::range(key)) }),
    }
}

fn read(key: &str) -> Value {
    object!({ "request_range": Value::Object(kv::range(key)) })
}

fn compares(compares: &[Compare]) -> Vec<Value> {
    let one = |compare: &Compare| {
        let (key, target, field, result, revision) = match compare {
            Compare::Revision(key, revision) => (key, "MOD", "mod_revision", "EQUAL", *revision),
            Compare::Exists(key) => (key, "CREATE", "create_revision", "GREATER", 0),
            Compare::Missing(key) => (key, "CREATE", "create_revision", "EQUAL", 0),
        };
        let mut fields = kv::range(key);
        fields.insert("target".to_owned(), target.into());
        fields.insert("result".to_owned(), result.into());
        fields.insert(field.to_owned(), revision.to_string().into());
        Value::Object(fields)
    };
    compares.iter().map(one).collect()
}

fn part_reply(part: &Part, response: &Value) -> Result<PartReply, EtcdError> {
    let unreadable = || kv::unreadable("the response of etcd to a part of a transaction");
    let fields = response.get("response_txn").and_then(Value::as_object).ok_or_else(unreadable)?;
    if succeeded(fields) {
        return Ok(PartReply::Stored);
    }
    let reads = (0..part.reads.len()).map(|position| {
        let pairs = kv::nested(fields, position)?;
        Ok(pairs.into_iter().next().map(stored))
    });
    Ok(PartReply::Stale(reads.collect::<Result<_, EtcdError>>()?))
}

fn succeeded(fields: &Map<String, Value>) -> bool {
    fields.get("succeeded").and_then(Value::as_bool) == Some(true)
}

fn stored(pair: kv::Pair) -> Stored {
    Stored { key: pair.key, value: pair.value, revision: pair.revision }
}

pub(super) fn state(fields: &Map<String, Value>) -> Result<StoreState, EtcdError> {
    let cluster = kv::cluster(fields)?;
    Ok(StoreState { cluster, revision: kv::revision(fields)? })
}

/// Reads single keys and whole prefixes at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    reads: Vec<Read>,
}

/// A read of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// One key.
    Key(String),
    /// The first keys with a prefix that ends with `/`, at most this many.
    Prefix(String, u64),
}

impl Snapshot {
    /// Creates the operation.
    pub fn new(reads: Vec<Read>) -> Self {
        Snapshot { reads }
    }
}

impl Operation for Snapshot {
    type Output = (StoreState, Vec<Vec<Stored>>);

    fn call(&self) -> (&'static str, String) {
        let reads: Vec<Value> = self
            .reads
            .iter()
            .map(|one| match one {
                Read::Key(key) => read(key),
                Read::Prefix(prefix, limit) => {
                    let mut fields = kv::span(prefix, &kv::prefix_end(prefix));
                    kv::number(&mut fields, "limit", *limit);
                    object!({ "request_range": Value::Object(fields) })
                }
            })
            .collect();
        (TXN, text(&object!({ "success": reads })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError> {
        let fields = answer.fields()?;
        let state = state(fields)?;
        let reads = (0..self.reads.len())
            .map(|position| Ok(kv::nested(fields, position)?.into_iter().map(stored).collect()));
        Ok(Progress::Done((state, reads.collect::<Result<_, EtcdError>>()?)))
    }
}

/// Removes all keys with a prefix that ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveAll(String);

impl RemoveAll {
    /// Creates the operation.
    pub fn new(prefix: String) -> Self {
        RemoveAll(prefix)
    }
}

impl Operation for RemoveAll {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        let fields = kv::span(&self.0, &kv::prefix_end(&self.0));
        (DELETE, text(&Value::Object(fields)))
    }

    fn answer(&mut self, _: &EtcdReply) -> Result<Progress<()>, EtcdError> {
        Ok(Progress::Done(()))
    }
}
