//! Counter records: one for each principal, with the counters of its windows, of its target limits and of its budget.
//!
//! [`CounterStore`] reads a record and writes it by compare-and-swap. It treats the bytes as opaque; only
//! [`CounterRecord`] interprets them, so every store runs the same decisions.

mod body_claim;
mod calendar;
mod key;
mod record;
mod shared_data;
mod sliding_window;

pub use body_claim::{BodyClaim, NoRoom};
pub use calendar::{DailyCounter, SpendCounter};
pub use key::{RecordKey, RecordKeys};
pub(crate) use record::sliding;
pub use record::{Counter, CounterId, CounterKind, CounterRecord, DOCUMENT_MAGIC, LEDGER_MAGIC};
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

/// An error of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be used, or holds a record that cannot.
    #[error(transparent)]
    Unavailable(#[from] UnavailableError),
    /// Every attempt of [`retry_conflicts`] found a conflict.
    #[error("too many conflicts with other writers of the record")]
    Contention,
}

/// The reason why a store or a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnavailableError {
    /// The host has no shared data that can hold records.
    #[error("the host has no shared data that can hold records")]
    NoSharedData,
    /// The host returned this proxy-wasm status.
    #[error("the host returned status {}", .0.0)]
    Host(HostStatus),
    /// The record carries the fingerprint of another name.
    #[error("the record belongs to another name")]
    Foreign,
    /// This version cannot read the record's format.
    #[error("the format of the record is unknown")]
    Format,
    /// The store is remote, and did not respond or returned an error.
    #[error("the store is unreachable")]
    Unreachable,
}

/// A store of records, with compare-and-swap.
pub trait CounterStore {
    /// The version of a record, which [`CounterStore::compare_and_swap`] compares.
    type Version: Copy;

    /// Reads a record; empty bytes if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, Self::Version), StoreError>;

    /// Replaces the record if it still has this version; otherwise writes nothing and returns [`Cas::Conflict`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
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
    fn a_key_built_in_parts_equals_the_whole() {
        let whole = RecordKey::new("tollgate/1/", &["member", "search", "bob"]);
        let in_parts = RecordKey::new("tollgate/1/", &["member"]).below(&["search", "bob"]);
        assert_eq!(whole, in_parts);
        assert_eq!(whole.as_str(), "tollgate/1/member/search/bob");
        assert_eq!(whole.fingerprint(), fingerprint(b"tollgate/1/member/search/bob"));
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8, "FNV-1a's own example");
    }
}
