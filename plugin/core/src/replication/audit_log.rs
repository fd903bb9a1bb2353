//! The last audit entries of each organization, in shared data.
//!
//! The newest entry is in the record that counts the entries; before it is replaced, it is copied to its slot. A VM that
//! traps in between therefore loses no entry: the next writer copies it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::JournalError;
use super::record::{compare_and_swap, read, write_if_newer};
use crate::admin::audit::{AuditQuery, MAX_ENTRIES};
use crate::counters::{Cas, CounterStore, RecordKey, retry_conflicts};

/// Stands for the platform in record keys; no organization can have this id.
const PLATFORM: &str = "_";

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Consecutive number, from 1.
    pub number: u64,
    /// The entry as JSON.
    pub entry: String,
}

impl StoredEntry {
    /// Returns the name of the entry in pages: its number with twenty digits.
    pub fn name(&self) -> String {
        format!("{:020}", self.number)
    }
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

/// Appends an entry of an organization; `None` for the platform. An entry of a commit has its epoch, which makes the
/// call idempotent.
///
/// # Errors
/// Errors of shared data, including too many conflicts.
pub(super) fn append<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    organization: Option<&str>,
    entry: &str,
    epoch: Option<u64>,
) -> Result<(), JournalError> {
    let name = counter(prefix, organization);
    retry_conflicts(|| {
        let current = read(store, &name)?;
        let last = newest(&current.body)?;
        if epoch.is_some_and(|epoch| last.epoch >= epoch) {
            return Ok(Some(()));
        }
        if current.number > 0 {
            write_if_newer(store, &slot(prefix, organization, current.number), current.number, &last.entry)?;
        }
        let mut body = epoch.unwrap_or(last.epoch).to_le_bytes().to_vec();
        body.extend_from_slice(entry.as_bytes());
        let stored =
            compare_and_swap(store, &name, current.version, current.number.saturating_add(1), &body)?;
        Ok((stored == Cas::Stored).then_some(()))
    })
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
    let counter = read(store, &counter(prefix, organization))?;
    let last = newest(&counter.body)?;
    let below = query.after.as_ref().and_then(|after| after.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let oldest = counter.number.saturating_sub(MAX_ENTRIES as u64).saturating_add(1);
    let mut entries: Vec<StoredEntry> = Vec::new();
    let mut number = counter.number.min(below.saturating_sub(1));
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
            entries.push(StoredEntry { number, entry });
        }
        number = number.saturating_sub(1);
    }
    let more = number >= oldest && number > 0;
    let next = entries.last().filter(|_| more).map(StoredEntry::name);
    Ok((entries, next))
}
