//! The audit log in etcd: append, read newest first, and trim to [`MAX_ENTRIES`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::{self, DELETE, EtcdReply, RANGE, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::admin::audit::{AuditQuery, MAX_ENTRIES};
use crate::json::out_of_line::{object, text};
use crate::time::Timestamp;

/// Returns the name of a new entry. Names are unique and sort by time.
pub fn entry_name(time: Timestamp, random: u64) -> String {
    format!("{:015}-{random:016x}", time.0)
}

/// Appends the entry of an attempt that changed nothing.
#[derive(Clone, Debug)]
pub struct Append {
    key: String,
    text: String,
}

impl Append {
    /// Creates the operation. `text` is the entry as JSON.
    pub fn new(keys: &KeySpace, organization: Option<&str>, name: &str, text: &str) -> Self {
        Append { key: format!("{}{name}", keys.audit(organization)), text: text.into() }
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
    limit: usize,
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
        AuditPage { prefix, before, limit: query.limit.min(MAX_ENTRIES) }
    }
}

impl Operation for AuditPage {
    /// Names with their entries as JSON, and true if older entries follow.
    type Output = (Vec<(String, String)>, bool);

    fn call(&self) -> (&'static str, String) {
        (RANGE, text(&Value::Object(descending(&self.prefix, &self.before, self.limit))))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError> {
        let range_reply = kv::pairs(answer.fields()?)?;
        let entries = range_reply.pairs.into_iter().map(|pair| {
            let name = pair.key.strip_prefix(&self.prefix).unwrap_or_default().into();
            let text = String::from_utf8(pair.value);
            Ok((name, text.map_err(|_| kv::unreadable("an entry of the audit log"))?))
        });
        Ok(Progress::Done((entries.collect::<Result<_, _>>()?, range_reply.more)))
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
