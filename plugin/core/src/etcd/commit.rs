//! Writing documents: all of them, the epoch and the audit's entry, or nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::kv::{self, EtcdReply, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::json::out_of_line::{object, text};
use crate::policy::Document;

/// Most bytes of one document as JSON.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// Most bytes of one transaction's documents; etcd takes requests of 1.5 MiB (`--max-request-bytes`).
pub const MAX_BYTES: usize = 1_400 * 1024;
/// Most documents of one transaction; etcd takes 128 operations (`--max-txn-ops`), two of which are ours.
pub const MAX_DOCUMENTS: usize = 120;

/// How often a write is sent again whose answer was lost.
const RETRIES: u32 = 2;

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is kept.
    Done {
        /// As this revision.
        revision: u64,
    },
    /// Somebody else wrote since the revision that it was decided on: nothing was written.
    Lost,
}

/// Writes what was decided on the policy as of one revision, if that is still the last one.
#[derive(Clone, Debug)]
pub struct CommitOperation {
    epoch: String,
    base: u64,
    /// Each key with its value; the audit's entry first.
    puts: Vec<(String, String)>,
    retries: u32,
}

impl CommitOperation {
    /// `base`: the revision that it was decided on. `name` is the entry's ([`super::entry_name`]): it tells this
    /// attempt from all others, so that one whose answer is lost can be sent again and is still made once.
    ///
    /// # Errors
    /// More than a transaction takes.
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
        // A key that is not there compares as revision 0.
        let compare = json!([{
            "key": kv::encode(&self.epoch), "target": "MOD", "result": "EQUAL",
            "mod_revision": self.base.to_string(),
        }]);
        let look = json!([{ "request_range": kv::range(entry) }]);
        (TXN, text(&object!({ "compare": compare, "success": all, "failure": look })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Committed>, EtcdError> {
        let fields = answer.fields()?;
        if fields.get("succeeded").and_then(Value::as_bool) == Some(true) {
            return Ok(Progress::Done(Committed::Done { revision: kv::revision(fields)? }));
        }
        // Our own entry is there: the first sending was carried out, and only its answer lost.
        let mine = kv::nested(fields, 0)?;
        Ok(Progress::Done(match mine.first() {
            Some(entry) => Committed::Done { revision: entry.revision },
            None => Committed::Lost,
        }))
    }

    fn failed(&mut self, trouble: EtcdError) -> Result<(), EtcdError> {
        if !matches!(trouble, EtcdError::Away { .. }) || self.retries == RETRIES {
            return Err(trouble);
        }
        self.retries = self.retries.saturating_add(1);
        Ok(())
    }
}
