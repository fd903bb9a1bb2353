//! The last audit entries of each organization, in shared data: changes in a ring of records, and `attempts` in one record.
//!
//! ```text
//! epoch:u64  count:u16  (number:u64 actor:u64 slot:u16)*count  newest entry
//! ```
//!
//! The newest entry is in the record that lists the stored entries, oldest first; before it is replaced, it is copied to its
//! slot. A VM that traps in between therefore loses no entry: the next writer copies it. The number of changes is bounded
//! for each actor and in sum ([`CHANGES`]), so that one actor cannot remove the changes of others.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::JournalError;
use super::attempts::{Attempt, Attempts};
use super::head::LogEntry;
use super::record::{compare_and_swap, read, write_if_newer};
use crate::admin::audit::{AuditQuery, CHANGES, EntryKind, merge};
use crate::counters::{Cas, CounterStore, RecordKey, retry_conflicts};
use crate::text::hash::fingerprint;

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

/// A stored change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    number: u64,
    /// Hash of the actor's id.
    actor: u64,
    slot: u16,
}

/// The content of the record that lists the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Epoch of the newest change.
    epoch: u64,
    /// The changes, oldest first; the last is the newest entry.
    listed: Vec<Listed>,
    newest: Vec<u8>,
}

impl Changes {
    fn read(body: &[u8]) -> Option<Changes> {
        if body.is_empty() {
            return Some(Changes::default());
        }
        let (epoch, rest) = body.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut listed = Vec::new();
        for _ in 0..u16::from_le_bytes(*count) {
            let (number, after) = rest.split_first_chunk()?;
            let (actor, after) = after.split_first_chunk()?;
            let (slot, after) = after.split_first_chunk()?;
            rest = after;
            listed.push(Listed {
                number: u64::from_le_bytes(*number),
                actor: u64::from_le_bytes(*actor),
                slot: u16::from_le_bytes(*slot),
            });
        }
        Some(Changes { epoch: u64::from_le_bytes(*epoch), listed, newest: rest.to_vec() })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.epoch.to_le_bytes().to_vec();
        bytes.extend((self.listed.len() as u16).to_le_bytes());
        for Listed { number, actor, slot } in &self.listed {
            bytes.extend(number.to_le_bytes());
            bytes.extend(actor.to_le_bytes());
            bytes.extend(slot.to_le_bytes());
        }
        bytes.extend_from_slice(&self.newest);
        bytes
    }

    /// Adds a change, and removes one beyond the bounds. Its slot is that of the removed one, or a new one.
    fn push(&mut self, number: u64, actor: u64, entry: &str, epoch: u64) {
        let new = self.listed.len() as u16;
        self.listed.push(Listed { number, actor, slot: new });
        let actors: Vec<u64> = self.listed.iter().map(|listed| listed.actor).collect();
        if let Some(surplus) = CHANGES.surplus(&actors) {
            let freed = self.listed.remove(surplus).slot;
            if let Some(last) = self.listed.last_mut() {
                last.slot = freed;
            }
        }
        (self.epoch, self.newest) = (epoch, entry.as_bytes().to_vec());
    }
}

fn list_key(prefix: &str, organization: Option<&str>) -> RecordKey {
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM)])
}

fn slot_key(prefix: &str, organization: Option<&str>, slot: u16) -> RecordKey {
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM), &slot.to_string()])
}

/// Appends the entry of a change. The epoch of its commit makes the call idempotent.
///
/// # Errors
/// Errors of shared data, including too many conflicts.
pub(super) fn append<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    entry: &LogEntry,
    epoch: u64,
) -> Result<(), JournalError> {
    let LogEntry { organization, actor, text } = entry;
    let organization = organization.as_deref();
    let name = list_key(prefix, organization);
    retry_conflicts(|| {
        let current = read(store, &name)?;
        let mut changes = Changes::read(&current.body).ok_or(JournalError::Damaged)?;
        if changes.epoch >= epoch {
            return Ok(Some(()));
        }
        if let Some(Listed { number, slot, .. }) = changes.listed.last() {
            write_if_newer(store, &slot_key(prefix, organization, *slot), *number, &changes.newest)?;
        }
        let number = current.number.saturating_add(1);
        changes.push(number, fingerprint(actor.as_bytes()), text, epoch);
        let stored = compare_and_swap(store, &name, current.version, number, &changes.bytes())?;
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
    let last_change = read(store, &list_key(prefix, organization))?.number;
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
    let current = read(store, &list_key(prefix, organization))?;
    let changes = Changes::read(&current.body).ok_or(JournalError::Damaged)?;
    let below = query.after.as_deref().and_then(first_older_change).unwrap_or(u64::MAX);
    let mut older = changes.listed.iter().rev().filter(|listed| listed.number <= below);
    let mut entries = Vec::new();
    for Listed { number, slot, .. } in older.by_ref() {
        let body = if *number == current.number {
            changes.newest.clone()
        } else {
            let stored = read(store, &slot_key(prefix, organization, *slot))?;
            // A newer entry may have replaced it.
            if stored.number == *number { stored.body } else { Vec::new() }
        };
        if let Ok(entry) = String::from_utf8(body)
            && !entry.is_empty()
        {
            entries.push((name_of_change(*number), entry));
        }
        if entries.len() == query.limit {
            break;
        }
    }
    Ok((entries, older.next().is_some()))
}

/// Returns the number of the newest change that is older than the entry of this name.
fn first_older_change(name: &str) -> Option<u64> {
    match name.split_once('-') {
        Some((last_change, _)) => last_change.parse().ok(),
        None => name.parse::<u64>().ok().map(|number| number.saturating_sub(1)),
    }
}
