//! The last attempts of each organization, in shared data.
//!
//! The newest entry lies in the record that counts them; before it is replaced it goes to its slot. So an entry
//! is there once it is counted, and a VM that traps in between leaves nothing out: the next one moves it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::JournalError;
use super::record::{compare_and_swap, read, write_if_newer};
use crate::admin::audit::{AuditQuery, KEPT};
use crate::counters::{Cas, CounterStore, RecordKey, retry_conflicts};

/// Under which the platform's own entries are kept; no organization can have this id.
const PLATFORM: &str = "_";

/// An entry's number and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEntry {
    /// From 1, without gaps. Its twenty digits are the name that pages go by.
    pub number: u64,
    /// JSON.
    pub entry: String,
}

impl KeptEntry {
    /// What a page's `next` says.
    pub fn name(&self) -> String {
        format!("{:020}", self.number)
    }
}

/// The epoch that the newest committed entry came with, then the newest entry.
struct Newest {
    epoch: u64,
    entry: Vec<u8>,
}

fn counter(prefix: &str, organization: Option<&str>) -> RecordKey {
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM)])
}

fn slot(prefix: &str, organization: Option<&str>, number: u64) -> RecordKey {
    let slot = number.checked_rem(KEPT as u64).unwrap_or_default().to_string();
    RecordKey::new(prefix, &["audit", organization.unwrap_or(PLATFORM), &slot])
}

fn newest(body: &[u8]) -> Result<Newest, JournalError> {
    if body.is_empty() {
        return Ok(Newest { epoch: 0, entry: Vec::new() });
    }
    let (epoch, entry) = body.split_first_chunk::<8>().ok_or(JournalError::Damaged)?;
    Ok(Newest { epoch: u64::from_le_bytes(*epoch), entry: entry.to_vec() })
}

/// Keeps an entry of an organization, or of the platform. One that belongs to a commit comes with its epoch, and is kept
/// once however often it is told.
///
/// # Errors
/// Where shared data fails, or other writers are faster again and again.
pub fn keep<C: CounterStore>(
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

/// The entries that are asked for, newest first, and the name to go on with where there are more.
///
/// # Errors
/// Where shared data fails.
pub fn page<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    query: &AuditQuery,
) -> Result<(Vec<KeptEntry>, Option<String>), JournalError> {
    let organization = query.organization.as_deref();
    let there = read(store, &counter(prefix, organization))?;
    let last = newest(&there.body)?;
    let below = query.after.as_ref().and_then(|after| after.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let oldest = there.number.saturating_sub(KEPT as u64).saturating_add(1);
    let mut entries: Vec<KeptEntry> = Vec::new();
    let mut number = there.number.min(below.saturating_sub(1));
    while number >= oldest && number > 0 && entries.len() < query.limit {
        let body = if number == there.number {
            last.entry.clone()
        } else {
            let kept = read(store, &slot(prefix, organization, number))?;
            // What came since has taken its place.
            if kept.number != number { Vec::new() } else { kept.body }
        };
        if let Ok(entry) = String::from_utf8(body)
            && !entry.is_empty()
        {
            entries.push(KeptEntry { number, entry });
        }
        number = number.saturating_sub(1);
    }
    let more = number >= oldest && number > 0;
    let next = entries.last().filter(|_| more).map(KeptEntry::name);
    Ok((entries, next))
}
