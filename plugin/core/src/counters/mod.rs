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

/// The number of attempts before [`StoreError::Contention`]. Each conflict means that another VM made progress, so this
/// is far more than any number of real workers needs.
pub const MAX_TRIES: u32 = 128;

/// Retries `attempt` while it returns `None`, which stands for a compare-and-swap that found a conflict. The only retry
/// loop over a store; [`CounterStore::update_bytes`] and [`CounterStore::update`] cover changes of one record.
///
/// # Errors
/// Those of `attempt`, and [`StoreError::Contention`] after 128 conflicts in a row.
pub fn retry_conflicts<R, E: From<StoreError>>(
    mut attempt: impl FnMut() -> Result<Option<R>, E>,
) -> Result<R, E> {
    for _ in 0..MAX_TRIES {
        if let Some(result) = attempt()? {
            return Ok(result);
        }
    }
    Err(StoreError::Contention.into())
}

/// Why a store could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The host has no shared data, refused the call, or holds a record that is not ours.
    Unavailable(Unavailable),
    /// Every attempt of [`retry_conflicts`] found a conflict.
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

    /// Reads a record of any format, lets `decide` change its bytes in place, and stores them if it returns
    /// [`Update::Write`]; repeats all of it after a conflict. `decide` also receives the store, for other records that it
    /// depends on.
    ///
    /// # Errors
    /// Those of the store and of `decide`, and [`StoreError::Contention`].
    fn update_bytes<R, E: From<StoreError>>(
        &mut self,
        name: &RecordKey,
        mut decide: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<Update<R>, E>,
    ) -> Result<R, E> {
        retry_conflicts(|| {
            let (mut bytes, version) = self.read(name)?;
            let result = match decide(self, &mut bytes)? {
                Update::Keep(result) => return Ok(Some(result)),
                Update::Write(result) => result,
            };
            let stored = self.compare_and_swap(name, version, &bytes)? == Cas::Stored;
            Ok(stored.then_some(result))
        })
    }

    /// Reads a counter record, lets `decide` change it in place, and stores it if `decide` returns [`Update::Write`];
    /// repeats all of it after a conflict.
    ///
    /// # Errors
    /// Those of the store and of [`CounterRecord::open`], and [`StoreError::Contention`].
    fn update<R>(
        &mut self,
        name: &RecordKey,
        mut decide: impl FnMut(&mut CounterRecord) -> Update<R>,
    ) -> Result<R, StoreError> {
        self.update_bytes(name, |_, bytes| {
            let mut record = CounterRecord::open(core::mem::take(bytes), name.fingerprint())?;
            let update = decide(&mut record);
            *bytes = record.into_bytes();
            Ok(update)
        })
    }
}

/// The result of a decision over a record, and the fate of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update<R> {
    /// Leave the stored record as it is.
    Keep(R),
    /// Store the changed record.
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
