//! The format of a journal's record: a header, a number and a body.
//!
//! ```text
//! "TGd" version:u8  0:u32  fingerprint:u64  number:u64  body
//! ```
//!
//! All integers are little-endian. The number of a record never decreases, so that a delayed VM cannot overwrite new data
//! with old.

use alloc::vec::Vec;

use serde_json::Value;

use super::JournalError;
use crate::counters::{Cas, CounterStore, DOCUMENT_MAGIC, RecordKey, retry_conflicts};

const HEADER: usize = 24;

/// A record with the version that was read.
pub(super) struct VersionedRecord<V> {
    /// Epoch, or number of an audit entry.
    pub(super) number: u64,
    /// JSON, or empty.
    pub(super) body: Vec<u8>,
    /// Version for [`CounterStore::compare_and_swap`].
    pub(super) version: V,
}

/// Parses a body as JSON.
pub(super) fn json(body: &[u8]) -> Result<Value, JournalError> {
    serde_json::from_slice(body).map_err(|_| JournalError::Damaged)
}

/// Reads a record. A missing one has number 0 and an empty body.
#[inline(never)]
pub(super) fn read<C: CounterStore>(
    store: &mut C,
    name: &RecordKey,
) -> Result<VersionedRecord<C::Version>, JournalError> {
    let (mut bytes, version) = store.read(name)?;
    if bytes.is_empty() {
        return Ok(VersionedRecord { number: 0, body: bytes, version });
    }
    let header = bytes.first_chunk::<HEADER>().filter(|header| header.starts_with(&DOCUMENT_MAGIC));
    let number = header.and_then(|header| header.last_chunk::<8>()).ok_or(JournalError::Damaged)?;
    let number = u64::from_le_bytes(*number);
    bytes.drain(..HEADER);
    Ok(VersionedRecord { number, body: bytes, version })
}

/// Writes a record if it still has the version that was read.
pub(super) fn compare_and_swap<C: CounterStore>(
    store: &mut C,
    name: &RecordKey,
    version: C::Version,
    number: u64,
    body: &[u8],
) -> Result<Cas, JournalError> {
    let mut bytes = Vec::with_capacity(HEADER.saturating_add(body.len()));
    bytes.extend_from_slice(&DOCUMENT_MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&name.fingerprint().to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(body);
    Ok(store.compare_and_swap(name, version, &bytes)?)
}

/// Writes a record unless the stored one has this number or a higher one.
pub(super) fn write_if_newer<C: CounterStore>(
    store: &mut C,
    name: &RecordKey,
    number: u64,
    body: &[u8],
) -> Result<(), JournalError> {
    retry_conflicts(|| {
        let current = read(store, name)?;
        let done = current.number >= number
            || compare_and_swap(store, name, current.version, number, body)? == Cas::Stored;
        Ok(done.then_some(()))
    })
}
