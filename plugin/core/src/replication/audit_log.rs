//! The last audit entries of each organization, in shared data: changes in a ring of records, and `attempts` in one record.
//!
//! The newest entry is in the record that counts the entries; before it is replaced, it is copied to its slot. A VM that
//! traps in between therefore loses no entry: the next writer copies it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::JournalError;
use super::attempts::{Attempt, Attempts};
use super::record::{compare_and_swap, read, write_if_newer};
use crate::admin::audit::{AuditQuery, EntryKind, MAX_ENTRIES, merge};
use crate::counters::{Cas, CounterStore, RecordKey, retry_conflicts};

/// Stands for the platform in record keys; no organization can have this id.
const PLATFORM: &str = "_";

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Name of the entry in pages; a newer entry has a greater name.
    pub name: String,
    /// The entry as JSON.
    pub entry: String,
}

/// Returns the name of a change: its consecutive number with twenty digits.
fn name_of_change(number: u64) -> String {
    format!("{number:020}")
}

/// Returns the name of an attempt: that of the last change before it, and its own consecutive number.
fn name_of_attempt(last_change: u64, number: u64) -> String {
    format!("{last_change:020}-{number:012}")
}

/// The newest entry, with the epoch of the newest committed entry.
struct Newest {
    epoch: u64,
    entry: Vec<u8>,
}

fn counter(prefix: &str, organization: Option<&str>) -> RecordKey {
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM)])
}

fn slot(prefix: &str, organization: Option<&str>, number: u64) -> RecordKey {
    let slot = number.checked_rem(MAX_ENTRIES as u64).unwrap_or_default().to_string();
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM), &slot])
}

fn newest(body: &[u8]) -> Result<Newest, JournalError> {
    if body.is_empty() {
        return Ok(Newest { epoch: 0, entry: Vec::new() });
    }
    let (epoch, entry) = body.split_first_chunk::<8>().ok_or(JournalError::Damaged)?;
    Ok(Newest { epoch: u64::from_le_bytes(*epoch), entry: entry.to_vec() })
}

/// Appends the entry of a change of an organization; `None` for the platform. The epoch of its commit makes the call
/// idempotent.
///
/// # Errors
/// Errors of shared data, including too many conflicts.
pub(super) fn append<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    organization: Option<&str>,
    entry: &str,
    epoch: u64,
) -> Result<(), JournalError> {
    let name = counter(prefix, organization);
    retry_conflicts(|| {
        let current = read(store, &name)?;
        let last = newest(&current.body)?;
        if last.epoch >= epoch {
            return Ok(Some(()));
        }
        if current.number > 0 {
            write_if_newer(store, &slot(prefix, organization, current.number), current.number, &last.entry)?;
        }
        let mut body = epoch.to_le_bytes().to_vec();
        body.extend_from_slice(entry.as_bytes());
        let stored =
            compare_and_swap(store, &name, current.version, current.number.saturating_add(1), &body)?;
        Ok((stored == Cas::Stored).then_some(()))
    })
}

/// Appends the entry of an attempt that changed nothing. No change is ever removed for it.
///
/// # Errors
/// Errors of shared data, including too many conflicts.
pub(super) fn append_attempt<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    organization: Option<&str>,
    actor: &str,
    entry: &str,
) -> Result<(), JournalError> {
    let last_change = read(store, &counter(prefix, organization))?.number;
    let key = attempts_key(prefix, organization);
    retry_conflicts(|| {
        let current = read(store, &key)?;
        let number = current.number.saturating_add(1);
        let name = name_of_attempt(last_change, number);
        let mut attempts = Attempts::read(&current.body)?;
        attempts.push(Attempt { name: &name, actor, entry });
        let stored = compare_and_swap(store, &key, current.version, number, attempts.text().as_bytes())?;
        Ok((stored == Cas::Stored).then_some(()))
    })
}

fn attempts_key(prefix: &str, organization: Option<&str>) -> RecordKey {
    RecordKey::new(prefix, &["attempts", organization.unwrap_or(PLATFORM)])
}

/// Returns the entries of a query, newest first, and the name to continue from if there are more.
///
/// # Errors
/// Errors of shared data.
pub(super) fn page<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    query: &AuditQuery,
) -> Result<(Vec<StoredEntry>, Option<String>), JournalError> {
    let organization = query.organization.as_deref();
    let (changes, more) = match query.selects(EntryKind::Change) {
        true => page_of_changes(store, prefix, query)?,
        false => (Vec::new(), false),
    };
    let attempts = match query.selects(EntryKind::Attempt) {
        true => read(store, &attempts_key(prefix, organization))?.body,
        false => Vec::new(),
    };
    let attempts = Attempts::read(&attempts)?;
    let owned = |attempt: &Attempt<'_>| (attempt.name.to_string(), attempt.entry.to_string());
    let (entries, more) = merge(changes, more, attempts.all().iter().map(owned), query);
    let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
    Ok((entries.into_iter().map(|(name, entry)| StoredEntry { name, entry }).collect(), next))
}

/// Returns the changes of a query by name, newest first, and true if older ones follow.
fn page_of_changes<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    query: &AuditQuery,
) -> Result<(Vec<(String, String)>, bool), JournalError> {
    let organization = query.organization.as_deref();
    let counter = read(store, &counter(prefix, organization))?;
    let last = newest(&counter.body)?;
    let below = query.after.as_deref().and_then(first_older_change).unwrap_or(u64::MAX);
    let oldest = counter.number.saturating_sub(MAX_ENTRIES as u64).saturating_add(1);
    let mut entries = Vec::new();
    let mut number = counter.number.min(below);
    while number >= oldest && number > 0 && entries.len() < query.limit {
        let body = if number == counter.number {
            last.entry.clone()
        } else {
            let stored_entry = read(store, &slot(prefix, organization, number))?;
            // A newer entry may have replaced it.
            if stored_entry.number != number { Vec::new() } else { stored_entry.body }
        };
        if let Ok(entry) = String::from_utf8(body)
            && !entry.is_empty()
        {
            entries.push((name_of_change(number), entry));
        }
        number = number.saturating_sub(1);
    }
    Ok((entries, number >= oldest && number > 0))
}

/// Returns the number of the newest change that is older than the entry of this name.
fn first_older_change(name: &str) -> Option<u64> {
    match name.split_once('-') {
        Some((last_change, _)) => last_change.parse().ok(),
        None => name.parse::<u64>().ok().map(|number| number.saturating_sub(1)),
    }
}
