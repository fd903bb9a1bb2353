//! The transaction that writes documents, the epoch and an audit entry.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::kv::{self, EtcdReply, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::json::out_of_line::{object, text};
use crate::policy::Document;

/// Maximum size of one document as JSON in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// Maximum size of a transaction's documents in bytes; etcd accepts requests of 1.5 MiB (`--max-request-bytes`).
pub const MAX_BYTES: usize = 1_400 * 1024;
/// Maximum number of documents of a transaction; etcd accepts 128 operations (`--max-txn-ops`), and the epoch and the
/// audit entry take two.
pub const MAX_DOCUMENTS: usize = 120;

/// Maximum number of retries after a lost response.
const RETRIES: u32 = 2;

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The write was stored.
    Stored {
        /// Revision of the write.
        revision: u64,
    },
    /// Another write came after the base revision: nothing was written.
    Conflict,
}

/// Writes documents unless another write came after the revision that they were decided on.
#[derive(Clone, Debug)]
pub struct CommitOperation {
    epoch: String,
    base: u64,
    /// Keys with their values; the audit entry first.
    puts: Vec<(String, String)>,
    retries: u32,
}

impl CommitOperation {
    /// Creates the operation. `base` is the revision that the documents were decided on. The entry's unique `name`
    /// ([`super::entry_name`]) identifies the write, so that a retry after a lost response is idempotent.
    ///
    /// # Errors
    /// [`EtcdError::DocumentTooLarge`], [`EtcdError::TooManyDocuments`] or [`EtcdError::TooManyBytes`].
    pub fn new(
        keys: &KeySpace,
        base: u64,
        documents: &[(Document, Option<Value>)],
        (organization, name, entry): (Option<&str>, &str, &str),
    ) -> Result<Self, EtcdError> {
        if documents.len() > MAX_DOCUMENTS {
            return Err(EtcdError::TooManyDocuments(documents.len()));
        }
        let audit = format!("{}{name}", keys.audit(organization));
        let mut bytes = entry.len();
        let mut puts = Vec::with_capacity(documents.len().saturating_add(1));
        puts.push((audit, entry.into()));
        for (document, content) in documents {
            let text = text(content.as_ref().unwrap_or(&Value::Null));
            if text.len() > MAX_DOCUMENT {
                return Err(EtcdError::DocumentTooLarge { document: document.clone(), bytes: text.len() });
            }
            bytes = bytes.saturating_add(text.len());
            puts.push((keys.document(document), text));
        }
        if bytes > MAX_BYTES {
            return Err(EtcdError::TooManyBytes(bytes));
        }
        Ok(CommitOperation { epoch: keys.epoch(), base, puts, retries: 0 })
    }
}

impl Operation for CommitOperation {
    type Output = Committed;

    fn call(&self) -> (&'static str, String) {
        let entry = self.puts.first().map(|(key, _)| key.as_str()).unwrap_or_default();
        let puts = self.puts.iter().map(|(key, value)| kv::put(key, value));
        let all: Vec<Value> = core::iter::once(kv::put(&self.epoch, "1")).chain(puts).collect();
        // A missing key compares as revision 0.
        let compare = json!([{
            "key": kv::encode(&self.epoch), "target": "MOD", "result": "EQUAL",
            "mod_revision": self.base.to_string(),
        }]);
        let own_entry = json!([{ "request_range": kv::range(entry) }]);
        (TXN, text(&object!({ "compare": compare, "success": all, "failure": own_entry })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Committed>, EtcdError> {
        let fields = answer.fields()?;
        if fields.get("succeeded").and_then(Value::as_bool) == Some(true) {
            return Ok(Progress::Done(Committed::Stored { revision: kv::revision(fields)? }));
        }
        // The entry exists: the first request succeeded and its response was lost.
        let mine = kv::nested(fields, 0)?;
        Ok(Progress::Done(match mine.first() {
            Some(entry) => Committed::Stored { revision: entry.revision },
            None => Committed::Conflict,
        }))
    }

    fn failed(&mut self, error: EtcdError) -> Result<(), EtcdError> {
        if !matches!(error, EtcdError::Unavailable { .. }) || self.retries == RETRIES {
            return Err(error);
        }
        self.retries = self.retries.saturating_add(1);
        Ok(())
    }
}
