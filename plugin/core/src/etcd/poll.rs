//! Reading the changes since a revision.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::{self, EtcdReply, Pair, RANGE};
use super::overlay::complete;
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::json::out_of_line::text;
use crate::policy::Document;

/// Number of documents per request: sixteen of the largest fit into Envoy's response buffer (32 MiB).
pub const PAGE: u64 = 16;

/// Maximum number of restarts after a compaction.
const MAX_RESTARTS: u32 = 3;

/// The documents changed since a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Revision of the last write; 0 if etcd has no policy yet.
    pub revision: u64,
    /// True if `documents` are all documents, not only the changed ones.
    pub all: bool,
    /// Changed documents; `None` for a removed one.
    pub documents: Vec<(Document, Option<Value>)>,
}

/// Reads the changes since a revision, all at one revision.
#[derive(Clone, Debug)]
pub struct Poll {
    keys: KeySpace,
    known: u64,
    /// Documents changed after this revision are read.
    since: u64,
    restarts: u32,
    reading: Option<PollProgress>,
}

#[derive(Clone, Debug)]
struct PollProgress {
    /// Revision of the last write.
    epoch: u64,
    /// Revision of the read.
    at: u64,
    next: String,
    documents: Vec<(Document, Option<Value>)>,
}

impl Poll {
    /// Creates the operation. `known` 0 reads all documents.
    pub fn new(keys: &KeySpace, known: u64) -> Self {
        Poll { keys: keys.clone(), known, since: known, restarts: 0, reading: None }
    }

    fn epoch(&mut self, answer: &EtcdReply) -> Result<Progress<Changes>, EtcdError> {
        let range_reply = kv::pairs(answer.fields()?)?;
        let epoch = range_reply.pairs.first().map_or(0, |pair| pair.revision);
        if epoch < self.known {
            return Err(EtcdError::RevisionRegressed { known: self.known, found: epoch });
        }
        if epoch == self.known {
            let documents = Vec::new();
            return Ok(Progress::Done(Changes { revision: epoch, all: false, documents }));
        }
        // Read at the store's revision: that of the last write may be compacted.
        let at = range_reply.revision;
        self.reading = Some(PollProgress { epoch, at, next: self.keys.documents(), documents: Vec::new() });
        Ok(Progress::More)
    }
}

impl Operation for Poll {
    type Output = Changes;

    fn call(&self) -> (&'static str, String) {
        let Some(reading) = &self.reading else {
            return (RANGE, text(&Value::Object(kv::range(&self.keys.epoch()))));
        };
        let mut range = kv::span(&reading.next, &kv::prefix_end(&self.keys.documents()));
        kv::number(&mut range, "revision", reading.at);
        kv::number(&mut range, "limit", PAGE);
        if self.since > 0 {
            kv::number(&mut range, "min_mod_revision", self.since.saturating_add(1));
        }
        (RANGE, text(&Value::Object(range)))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Changes>, EtcdError> {
        let Some(mut reading) = self.reading.take() else {
            return self.epoch(answer);
        };
        let range_reply = kv::pairs(answer.fields()?)?;
        let prefix = self.keys.documents();
        for pair in &range_reply.pairs {
            reading.documents.push(document(&prefix, pair)?);
        }
        if let (true, Some(last)) = (range_reply.more, range_reply.pairs.last()) {
            reading.next = format!("{}\0", last.key);
            self.reading = Some(reading);
            return Ok(Progress::More);
        }
        // A catalog that marks the policy as complete affects unchanged documents too, so read all of them.
        if self.since > 0 && complete(&reading.documents) {
            self.since = 0;
            let next = self.keys.documents();
            self.reading = Some(PollProgress { next, documents: Vec::new(), ..reading });
            return Ok(Progress::More);
        }
        let PollProgress { epoch, documents, .. } = reading;
        Ok(Progress::Done(Changes { revision: epoch, all: self.since == 0, documents }))
    }

    fn failed(&mut self, error: EtcdError) -> Result<(), EtcdError> {
        if error != EtcdError::Compacted || self.restarts == MAX_RESTARTS {
            return Err(error);
        }
        self.restarts = self.restarts.saturating_add(1);
        self.reading = None;
        Ok(())
    }
}

fn document(prefix: &str, pair: &Pair) -> Result<(Document, Option<Value>), EtcdError> {
    let read = || {
        let document = Document::named(pair.key.strip_prefix(prefix)?)?;
        let content: Value = serde_json::from_slice(&pair.value).ok()?;
        Some((document, (!content.is_null()).then_some(content)))
    };
    read().ok_or_else(|| kv::unreadable(&format!("`{}` in etcd", pair.key)))
}
