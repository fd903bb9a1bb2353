//! The audit in etcd: appended, read newest first, and cut to what is kept.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::{self, DELETE, EtcdReply, RANGE, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::admin::audit::{AuditQuery, KEPT};
use crate::json::out_of_line::{object, text};
use crate::time::Timestamp;

/// The name of a new entry: names sort by time, and no two are the same.
pub fn entry_name(time: Timestamp, random: u64) -> String {
    format!("{:015}-{random:016x}", time.0)
}

/// Appends an attempt that changed nothing.
#[derive(Clone, Debug)]
pub struct Append {
    key: String,
    text: String,
}

impl Append {
    /// The entry's JSON under its name.
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

/// Reads a page, newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    prefix: String,
    before: String,
    limit: usize,
}

impl AuditPage {
    /// The entries that are asked for.
    pub fn new(keys: &KeySpace, query: &AuditQuery) -> Self {
        let prefix = keys.audit(query.organization.as_deref());
        let before = match &query.after {
            Some(name) => format!("{prefix}{name}"),
            None => kv::behind(&prefix),
        };
        // Whoever gives a name from elsewhere gets nothing from elsewhere.
        let before = before.min(kv::behind(&prefix));
        AuditPage { prefix, before, limit: query.limit.min(KEPT) }
    }
}

impl Operation for AuditPage {
    /// Names with the JSON of their entries, and whether older ones follow.
    type Output = (Vec<(String, String)>, bool);

    fn call(&self) -> (&'static str, String) {
        (RANGE, text(&Value::Object(descending(&self.prefix, &self.before, self.limit))))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError> {
        let found = kv::pairs(answer.fields()?)?;
        let entries = found.pairs.into_iter().map(|pair| {
            let name = pair.key.strip_prefix(&self.prefix).unwrap_or_default().into();
            let text = String::from_utf8(pair.value);
            Ok((name, text.map_err(|_| kv::unreadable("an entry of the audit"))?))
        });
        Ok(Progress::Done((entries.collect::<Result<_, _>>()?, found.more)))
    }
}

fn descending(from: &str, to: &str, limit: usize) -> serde_json::Map<String, Value> {
    let mut range = kv::span(from, to);
    kv::number(&mut range, "limit", limit as u64);
    range.insert("sort_order".into(), "DESCEND".into());
    range.insert("sort_target".into(), "KEY".into());
    range
}

/// Removes the entries of an organization older than the last [`KEPT`].
#[derive(Clone, Debug)]
pub struct Trim {
    prefix: String,
    oldest: Option<String>,
}

impl Trim {
    /// Of this organization; `None`: of the platform.
    pub fn new(keys: &KeySpace, organization: Option<&str>) -> Self {
        Trim { prefix: keys.audit(organization), oldest: None }
    }

    /// Whether an entry of this name is one after which it is time to trim: one in 64 is, so that little more than
    /// [`KEPT`] is ever held, and nobody has to walk through all organizations.
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
                let mut range = descending(&self.prefix, &kv::behind(&self.prefix), KEPT);
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
        let found = kv::pairs(answer.fields()?)?;
        match found.pairs.into_iter().last() {
            Some(last) if found.more => {
                self.oldest = Some(last.key);
                Ok(Progress::More)
            }
            _ => Ok(Progress::Done(())),
        }
    }
}
