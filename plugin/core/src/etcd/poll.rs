//! Reading what has changed.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::{self, EtcdReply, Pair, RANGE};
use super::overlay::complete;
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::json::out_of_line::text;
use crate::policy::Document;

/// Documents read at once: sixteen of the largest lie within what Envoy holds of one answer (32 MiB).
pub const PAGE: u64 = 16;

/// How often a reading begins anew because etcd drops what is being read.
const RESTARTS: u32 = 3;

/// What etcd had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision of the last write; 0: there has been none, and etcd has no say yet.
    pub revision: u64,
    /// Whether these are all documents that there are, not only those that changed.
    pub all: bool,
    /// Each that changed since the known revision; `None`: it was removed. Empty where nothing changed.
    pub documents: Vec<(Document, Option<Value>)>,
}

/// Asks whether somebody wrote, and reads what they did: all of it as of one moment.
#[derive(Clone, Debug)]
pub struct Poll {
    keys: KeySpace,
    known: u64,
    /// The revision above which documents are asked for.
    since: u64,
    restarts: u32,
    reading: Option<PollProgress>,
}

#[derive(Clone, Debug)]
struct PollProgress {
    /// Of the last write.
    epoch: u64,
    /// At which the whole is read.
    at: u64,
    next: String,
    documents: Vec<(Document, Option<Value>)>,
}

impl Poll {
    /// What was written after `known`; 0: everything.
    pub fn new(keys: &KeySpace, known: u64) -> Self {
        Poll { keys: keys.clone(), known, since: known, restarts: 0, reading: None }
    }

    fn epoch(&mut self, answer: &EtcdReply) -> Result<Progress<Changes>, EtcdError> {
        let found = kv::pairs(answer.fields()?)?;
        let epoch = found.pairs.first().map_or(0, |pair| pair.revision);
        if epoch < self.known {
            return Err(EtcdError::Backwards { known: self.known, found: epoch });
        }
        if epoch == self.known {
            let documents = Vec::new();
            return Ok(Progress::Done(Changes { revision: epoch, all: false, documents }));
        }
        // Read at the store's revision, not at the last write's: the latter may be compacted although nothing has
        // changed since.
        let at = found.revision;
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
        let mut range = kv::span(&reading.next, &kv::behind(&self.keys.documents()));
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
        let found = kv::pairs(answer.fields()?)?;
        let prefix = self.keys.documents();
        for pair in &found.pairs {
            reading.documents.push(document(&prefix, pair)?);
        }
        if let (true, Some(last)) = (found.more, found.pairs.last()) {
            reading.next = format!("{}\0", last.key);
            self.reading = Some(reading);
            return Ok(Progress::More);
        }
        // A catalog that now says what all there is concerns every document, also those that did not change.
        if self.since > 0 && complete(&reading.documents) {
            self.since = 0;
            let next = self.keys.documents();
            self.reading = Some(PollProgress { next, documents: Vec::new(), ..reading });
            return Ok(Progress::More);
        }
        let PollProgress { epoch, documents, .. } = reading;
        Ok(Progress::Done(Changes { revision: epoch, all: self.since == 0, documents }))
    }

    fn failed(&mut self, trouble: EtcdError) -> Result<(), EtcdError> {
        if trouble != EtcdError::Compacted || self.restarts == RESTARTS {
            return Err(trouble);
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
