//! The audit log in etcd: append, read newest first, and trim to the bounds of each actor and of an organization.
//!
//! The names of changes contain a hash of the actor. Attempts that changed nothing have a fixed number of keys for each
//! actor. Trimming removes what is beyond the bounds, so that no actor can remove the entries of others that have fewer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::kv::{self, EtcdReply, RANGE, TXN};
use super::{EtcdError, KeySpace, Operation, Progress};
use crate::admin::audit::{AuditQuery, CHANGES, EntryKind, MAX_ENTRIES, merge};
use crate::collections::shares::Shares;
use crate::collections::sort::sort_by_key;
use crate::json::out_of_line::{object, text};
use crate::text::hash::fingerprint;
use crate::time::Timestamp;

/// Returns the name of a new entry. Names are unique and sort by time, and end with a hash of the actor.
pub fn entry_name(time: Timestamp, random: u64, actor: &str) -> String {
    format!("{:015}-{random:016x}-{:016x}", time.0, fingerprint(actor.as_bytes()))
}

/// The number of attempts of an actor that are stored in an organization.
const ATTEMPTS_PER_ACTOR: u64 = 32;

/// The bounds of the attempts of an organization.
const ATTEMPTS: Shares = Shares { per_actor: ATTEMPTS_PER_ACTOR as usize, in_sum: 512 };

/// Appends the entry of an attempt that changed nothing. It takes one of two places: the second, where it replaces an earlier
/// attempt of the same actor, only if the first is taken.
#[derive(Clone, Debug)]
pub struct Append {
    first: String,
    second: String,
    text: String,
}

impl Append {
    /// Creates the operation. `text` is the entry as JSON.
    pub fn new(keys: &KeySpace, organization: Option<&str>, actor: &str, (name, text): (&str, &str)) -> Self {
        let slot = fingerprint(name.as_bytes()) % ATTEMPTS_PER_ACTOR;
        let actor = fingerprint(actor.as_bytes());
        let key = |slot: u64| {
            let slot = slot % ATTEMPTS_PER_ACTOR;
            format!("{}{slot:02x}-{actor:016x}", keys.attempts(organization))
        };
        Append { first: key(slot), second: key(slot.saturating_add(1)), text: format!("{name}\n{text}") }
    }
}

impl Operation for Append {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        // A missing key compares as revision 0.
        let compare = json!([{
            "key": kv::encode(&self.first),
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": "0",
        }]);
        let [first, second] = [&self.first, &self.second].map(|key| kv::put(key, &self.text));
        (TXN, text(&object!({ "compare": compare, "success": [first], "failure": [second] })))
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

/// Maximum number of entries that one [`Trim`] removes; etcd accepts transactions of 128 operations.
const MAX_TRIMMED: usize = 100;

/// Removes the entries of an organization that are beyond the bounds, of changes or of attempts.
#[derive(Clone, Debug)]
pub struct Trim {
    prefix: String,
    shares: Shares,
    surplus: Vec<String>,
}

impl Trim {
    /// Creates the operation for the changes of an organization; `None` for the platform.
    pub fn changes(keys: &KeySpace, organization: Option<&str>) -> Self {
        Trim { prefix: keys.audit(organization), shares: CHANGES, surplus: Vec::new() }
    }

    /// Creates the operation for the attempts of an organization; `None` for the platform.
    pub fn attempts(keys: &KeySpace, organization: Option<&str>) -> Self {
        Trim { prefix: keys.attempts(organization), shares: ATTEMPTS, surplus: Vec::new() }
    }

    /// Returns true for one in 64 entry names. Trimming after those entries bounds the log of each organization without
    /// a scan over all organizations.
    pub fn is_due(name: &str) -> bool {
        name.split('-')
            .nth(1)
            .and_then(|random| u64::from_str_radix(random, 16).ok())
            .is_some_and(|random| random.checked_rem(64) == Some(0))
    }

    /// Returns the hash of the actor at the end of a key.
    fn actor(key: &str) -> u64 {
        key.rsplit('-').next().and_then(|actor| u64::from_str_radix(actor, 16).ok()).unwrap_or_default()
    }
}

impl Operation for Trim {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        if self.surplus.is_empty() {
            let mut range = kv::span(&self.prefix, &kv::prefix_end(&self.prefix));
            range.insert("keys_only".into(), true.into());
            return (RANGE, text(&Value::Object(range)));
        }
        let deletions: Vec<Value> =
            self.surplus.iter().map(|key| json!({ "request_delete_range": kv::range(key) })).collect();
        (TXN, text(&object!({ "success": deletions })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<()>, EtcdError> {
        if !self.surplus.is_empty() {
            return Ok(Progress::Done(()));
        }
        let mut pairs = kv::pairs(answer.fields()?)?.pairs;
        sort_by_key(&mut pairs, |pair| pair.revision);
        let removed = self.shares.trim(&mut pairs, MAX_TRIMMED, |pair| Trim::actor(&pair.key));
        self.surplus = removed.into_iter().map(|pair| pair.key).collect();
        Ok(if self.surplus.is_empty() { Progress::Done(()) } else { Progress::More })
    }
}
