//! The audit log in etcd: append, read newest first, and trim to [`MAX_ENTRIES`].
//!
//! Attempts that changed nothing have a fixed number of keys in each organization, and each actor writes to a few of them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::{self, DELETE, EtcdReply, RANGE, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::admin::audit::{AuditQuery, EntryKind, MAX_ENTRIES, merge};
use crate::json::out_of_line::{object, text};
use crate::text::hash::fingerprint;
use crate::time::Timestamp;

/// Returns the name of a new entry. Names are unique and sort by time.
pub fn entry_name(time: Timestamp, random: u64) -> String {
    format!("{:015}-{random:016x}", time.0)
}

/// The number of groups of actors in an organization, each with its own keys for attempts.
const ACTOR_GROUPS: u64 = 16;

/// The number of attempts of a group of actors that are stored in an organization.
const ATTEMPTS_PER_GROUP: u64 = 32;

/// Appends the entry of an attempt that changed nothing. It replaces an earlier attempt of the same group of actors.
#[derive(Clone, Debug)]
pub struct Append {
    key: String,
    text: String,
}

impl Append {
    /// Creates the operation. `text` is the entry as JSON.
    pub fn new(keys: &KeySpace, organization: Option<&str>, actor: &str, (name, text): (&str, &str)) -> Self {
        let group = fingerprint(actor.as_bytes()) % ACTOR_GROUPS;
        let slot = fingerprint(name.as_bytes()) % ATTEMPTS_PER_GROUP;
        let key = format!("{}{group:02x}{slot:02x}", keys.attempts(organization));
        Append { key, text: format!("{name}\n{text}") }
    }
}

impl Operation for Append {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        (TXN, text(&object!({ "success": [kv::put(&self.key, &self.text)] })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<()>, EtcdError> {
        kv::revision(answer.fields()?)?;
        Ok(Progress::Done(()))
    }
}

/// Reads a page of entries, newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    prefix: String,
    before: String,
    attempts: String,
    query: AuditQuery,
    /// The changes of the page, once they are read, and true if older ones follow.
    changes: Option<(Vec<(String, String)>, bool)>,
}

impl AuditPage {
    /// Creates the operation for a query.
    pub fn new(keys: &KeySpace, query: &AuditQuery) -> Self {
        let prefix = keys.audit(query.organization.as_deref());
        let before = match &query.after {
            Some(name) => format!("{prefix}{name}"),
            None => kv::prefix_end(&prefix),
        };
        // The name comes from the request: it must not reach keys outside of the prefix.
        let before = before.min(kv::prefix_end(&prefix));
        let query = AuditQuery { limit: query.limit.min(MAX_ENTRIES), ..query.clone() };
        let attempts = keys.attempts(query.organization.as_deref());
        let changes = (!query.selects(EntryKind::Change)).then(|| (Vec::new(), false));
        AuditPage { prefix, before, attempts, query, changes }
    }
}

impl Operation for AuditPage {
    /// Names with their entries as JSON, and true if older entries follow.
    type Output = (Vec<(String, String)>, bool);

    fn call(&self) -> (&'static str, String) {
        let range = match &self.changes {
            None => descending(&self.prefix, &self.before, self.query.limit),
            Some(_) => kv::span(&self.attempts, &kv::prefix_end(&self.attempts)),
        };
        (RANGE, text(&Value::Object(range)))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError> {
        let range_reply = kv::pairs(answer.fields()?)?;
        let unreadable = || kv::unreadable("an entry of the audit log");
        let read = range_reply
            .pairs
            .into_iter()
            .map(|pair| Ok((pair.key, String::from_utf8(pair.value).map_err(|_| unreadable())?)))
            .collect::<Result<Vec<_>, EtcdError>>()?;
        let Some((changes, more)) = self.changes.take() else {
            let changes = read
                .into_iter()
                .map(|(key, text)| (key.strip_prefix(&self.prefix).unwrap_or_default().into(), text))
                .collect();
            if !self.query.selects(EntryKind::Attempt) {
                return Ok(Progress::Done((changes, range_reply.more)));
            }
            self.changes = Some((changes, range_reply.more));
            return Ok(Progress::More);
        };
        let attempts = read.into_iter().filter_map(|(_, text)| {
            let (name, text) = text.split_once('\n')?;
            Some((name.into(), text.into()))
        });
        Ok(Progress::Done(merge(changes, more, attempts, &self.query)))
    }
}

fn descending(from: &str, to: &str, limit: usize) -> serde_json::Map<String, Value> {
    let mut range = kv::span(from, to);
    kv::number(&mut range, "limit", limit as u64);
    range.insert("sort_order".into(), "DESCEND".into());
    range.insert("sort_target".into(), "KEY".into());
    range
}

/// Removes all but the newest [`MAX_ENTRIES`] entries of an organization.
#[derive(Clone, Debug)]
pub struct Trim {
    prefix: String,
    oldest: Option<String>,
}

impl Trim {
    /// Creates the operation for an organization; `None` for the platform.
    pub fn new(keys: &KeySpace, organization: Option<&str>) -> Self {
        Trim { prefix: keys.audit(organization), oldest: None }
    }

    /// Returns true for one in 64 entry names. Trimming after those entries bounds the log of each organization without
    /// a scan over all organizations.
    pub fn is_due(name: &str) -> bool {
        name.bytes().last().is_some_and(|digit| digit == b'0')
            && name.bytes().rev().nth(1).is_some_and(|digit| b"048c".contains(&digit))
    }
}

impl Operation for Trim {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        match &self.oldest {
            None => {
                let mut range = descending(&self.prefix, &kv::prefix_end(&self.prefix), MAX_ENTRIES);
                range.insert("keys_only".into(), true.into());
                (RANGE, text(&Value::Object(range)))
            }
            Some(oldest) => (DELETE, text(&Value::Object(kv::span(&self.prefix, oldest)))),
        }
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<()>, EtcdError> {
        if self.oldest.is_some() {
            return Ok(Progress::Done(()));
        }
        let range_reply = kv::pairs(answer.fields()?)?;
        match range_reply.pairs.into_iter().last() {
            Some(last) if range_reply.more => {
                self.oldest = Some(last.key);
                Ok(Progress::More)
            }
            _ => Ok(Progress::Done(())),
        }
    }
}
