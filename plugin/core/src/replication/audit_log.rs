//! The last attempts of each organization, in shared data.
//!
//! The newest entry lies in the record that counts them; before it is replaced it goes to its slot. So an entry
//! is there once it is counted, and a VM that traps in between leaves nothing out: the next one moves it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::JournalError;
use super::record::{raise, read, swap};
use crate::admin::audit::{KEPT, Query};
use crate::counters::{CellName, Cells, CellsError, MAX_TRIES, Swap};

/// Under which the platform's own entries are kept; no organization can have this id.
const PLATFORM: &str = "_";

/// An entry's number and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// From 1, without gaps. Its twenty digits are the name that pages go by.
    pub number: u64,
    /// JSON.
    pub entry: String,
}

impl Kept {
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

fn counter(prefix: &str, organization: Option<&str>) -> CellName {
    CellName::new(prefix, &["audit", organization.unwrap_or(PLATFORM)])
}

fn slot(prefix: &str, organization: Option<&str>, number: u64) -> CellName {
    let slot = number.checked_rem(KEPT as u64).unwrap_or_default().to_string();
    CellName::new(prefix, &["audit", organization.unwrap_or(PLATFORM), &slot])
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
pub fn keep<C: Cells>(
    cells: &mut C,
    prefix: &str,
    organization: Option<&str>,
    entry: &str,
    epoch: Option<u64>,
) -> Result<(), JournalError> {
    let name = counter(prefix, organization);
    for _ in 0..MAX_TRIES {
        let there = read(cells, &name)?;
        let last = newest(&there.body)?;
        if epoch.is_some_and(|epoch| last.epoch >= epoch) {
            return Ok(());
        }
        if there.number > 0 {
            raise(cells, &slot(prefix, organization, there.number), there.number, &last.entry)?;
        }
        let mut body = epoch.unwrap_or(last.epoch).to_le_bytes().to_vec();
        body.extend_from_slice(entry.as_bytes());
        if swap(cells, &name, there.version, there.number.saturating_add(1), &body)? == Swap::Done {
            return Ok(());
        }
    }
    Err(CellsError::Contention.into())
}

/// The entries that are asked for, newest first, and the name to go on with where there are more.
///
/// # Errors
/// Where shared data fails.
pub fn page<C: Cells>(
    cells: &mut C,
    prefix: &str,
    query: &Query,
) -> Result<(Vec<Kept>, Option<String>), JournalError> {
    let organization = query.organization.as_deref();
    let there = read(cells, &counter(prefix, organization))?;
    let last = newest(&there.body)?;
    let below = query.after.as_ref().and_then(|after| after.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let oldest = there.number.saturating_sub(KEPT as u64).saturating_add(1);
    let mut entries: Vec<Kept> = Vec::new();
    let mut number = there.number.min(below.saturating_sub(1));
    while number >= oldest && number > 0 && entries.len() < query.limit {
        let body = if number == there.number {
            last.entry.clone()
        } else {
            let kept = read(cells, &slot(prefix, organization, number))?;
            // What came since has taken its place.
            if kept.number != number { Vec::new() } else { kept.body }
        };
        if let Ok(entry) = String::from_utf8(body)
            && !entry.is_empty()
        {
            entries.push(Kept { number, entry });
        }
        number = number.saturating_sub(1);
    }
    let more = number >= oldest && number > 0;
    let next = entries.last().filter(|_| more).map(Kept::name);
    Ok((entries, next))
}
