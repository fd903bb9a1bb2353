//! Cells: one record for each principal, holding all of its windows, target limits and its budget.
//!
//! [`CounterStore`] is the seam: a store reads a record and swaps it against the version it read. What is in
//! the record is [`CounterRecord`]'s business alone, so every store runs the same decisions.

mod calendar;
mod key;
mod record;
mod shared_data;
mod sliding_window;

pub use calendar::{DailyCounter, SpendCounter};
pub use key::{RecordKey, RecordKeys};
pub use record::{Counter, CounterId, CounterKind, CounterRecord, DOCUMENT_MAGIC};
pub use shared_data::{Cas, HostStatus, SharedData, SharedDataKind, SharedDataStore, SharedValue};
pub use sliding_window::{SLOTS, SlidingWindow, Span};

use alloc::vec::Vec;

/// How often a lost swap is tried again before the caller's `on_contention` decides. Each loss means
/// that another VM made progress, so this is far beyond what any number of real workers needs.
pub const MAX_TRIES: u32 = 128;

/// Why a store could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The host has no shared data, refused the call, or holds a record that is not ours.
    Unavailable(Unavailable),
    /// [`MAX_TRIES`] swaps in a row were lost.
    Contention,
}

/// What made a store unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The host has no shared data that can hold records.
    NoSharedData,
    /// The host answered with this proxy-wasm status.
    Host(HostStatus),
    /// The record carries the fingerprint of another name.
    Foreign,
    /// The record's format is not one this version reads.
    Format,
    /// The store is elsewhere, and did not answer or refused.
    Unreachable,
}

/// A store of cells. It owns the retry loop; what it stores is opaque to it.
pub trait CounterStore {
    /// What [`CounterStore::swap`] needs to know that nobody wrote in between.
    type Version: Copy;

    /// The record as it is; empty bytes where there is none.
    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, Self::Version), StoreError>;

    /// Replaces the record if it still has the version read; `Conflict` otherwise, with nothing written.
    fn compare_and_swap(
        &mut self,
        name: &RecordKey,
        version: Self::Version,
        bytes: &[u8],
    ) -> Result<Cas, StoreError>;

    /// Applies a pure decision to the record, again after each lost swap. `decide` changes the cell in
    /// place and answers with [`Update::Write`] to have it stored.
    fn update<R>(
        &mut self,
        name: &RecordKey,
        mut decide: impl FnMut(&mut CounterRecord) -> Update<R>,
    ) -> Result<R, StoreError> {
        for _ in 0..MAX_TRIES {
            let (bytes, version) = self.read(name)?;
            let mut record = CounterRecord::open(bytes, name.fingerprint())?;
            let outcome = match decide(&mut record) {
                Update::Keep(outcome) => return Ok(outcome),
                Update::Write(outcome) => outcome,
            };
            if self.compare_and_swap(name, version, record.as_bytes())? == Cas::Stored {
                return Ok(outcome);
            }
        }
        Err(StoreError::Contention)
    }
}

/// What a decision wants done with the cell it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update<R> {
    /// Leave the stored record as it is.
    Keep(R),
    /// Store the changed cell.
    Write(R),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::hash::fingerprint;

    #[test]
    fn a_name_is_the_same_however_it_is_put_together() {
        let whole = RecordKey::new("tollgate/1/", &["member", "search", "bob"]);
        let in_parts = RecordKey::new("tollgate/1/", &["member"]).below(&["search", "bob"]);
        assert_eq!(whole, in_parts);
        assert_eq!(whole.as_str(), "tollgate/1/member/search/bob");
        assert_eq!(whole.fingerprint(), fingerprint(b"tollgate/1/member/search/bob"));
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8, "FNV-1a's own example");
    }
}
