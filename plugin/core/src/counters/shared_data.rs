//! Records in a host's shared data.
//!
//! On Envoy version 0 overwrites, so a loop that creates records with version 0 loses updates. [`SharedDataStore`] creates
//! them with a version that no record has (`u32::MAX`): the host inserts a missing record exactly once.

use alloc::string::String;
use alloc::vec::Vec;

use super::record::owner;
use super::{CounterStore, RecordKey, StoreError, UnavailableError};

/// A proxy-wasm status (ABI 0.2.1) that is neither success, "not found" nor "mismatch".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStatus(pub u32);

/// The value that a host holds under a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedValue {
    /// The value; empty if the name is missing.
    pub bytes: Vec<u8>,
    /// The version; `None` if the name is missing.
    pub version: Option<u32>,
}

/// The result of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cas {
    /// The value was stored.
    Stored,
    /// Another writer was first: nothing was stored.
    Conflict,
}

/// The two shared-data calls of the ABI.
pub trait SharedData {
    /// `proxy_get_shared_data`.
    ///
    /// # Errors
    /// Any status but success and "not found".
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus>;

    /// `proxy_set_shared_data`.
    ///
    /// # Errors
    /// Any status but success and "mismatch".
    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus>;
}

/// The kind of shared data that a host has, by its results of compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedDataKind {
    /// Version 0 overwrites an existing value, and a missing name accepts any version (Envoy and its kin).
    /// The only kind that can hold records.
    CompareAndSwap,
    /// Version 0 inserts a missing value and never overwrites (ngx_wasm_module). Not supported.
    InsertIfAbsent,
    /// There is no shared data, or it keeps nothing.
    None,
}

/// The version that no record has.
const CREATE: u32 = u32::MAX;

/// [`CounterStore`] over [`SharedData`].
#[derive(Debug)]
pub struct SharedDataStore<S> {
    shared: S,
    kind: SharedDataKind,
    /// The number of conflicts.
    conflicts: u32,
}

/// The version of a record; `None` if it is missing.
#[derive(Clone, Copy, Debug)]
pub struct SharedVersion(Option<u32>);

impl<S: SharedData> SharedDataStore<S> {
    /// Records in `shared`, which is of this kind.
    pub fn new(shared: S, kind: SharedDataKind) -> Self {
        SharedDataStore { shared, kind, conflicts: 0 }
    }

    /// Determines the kind of the host's shared data. Writes one small record below `prefix`, and never changes
    /// what is stored there already.
    pub fn probe(shared: &mut S, prefix: &str) -> SharedDataKind {
        let mut name = String::from(prefix);
        name.push_str("probe");
        Self::try_probe(shared, &name).unwrap_or(SharedDataKind::None)
    }

    fn try_probe(shared: &mut S, name: &str) -> Result<SharedDataKind, HostStatus> {
        const MARK: &[u8] = b"TGp\x01";
        if shared.get(name)?.version.is_none()
            && shared.set(name, MARK, CREATE)? == Cas::Conflict
            && shared.get(name)?.version.is_none()
        {
            shared.set(name, MARK, 0)?;
        }
        let kept = shared.get(name)?;
        if kept.version.is_none() || kept.bytes != MARK {
            return Ok(SharedDataKind::None);
        }
        // The same bytes again, with the version that overwrites or inserts, depending on the kind.
        Ok(match shared.set(name, MARK, 0)? {
            Cas::Stored => SharedDataKind::CompareAndSwap,
            Cas::Conflict => SharedDataKind::InsertIfAbsent,
        })
    }

    /// The kind of the host's shared data.
    pub fn kind(&self) -> SharedDataKind {
        self.kind
    }

    /// The number of conflicts with other writers.
    pub fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// The host's shared data.
    pub fn host(&mut self) -> &mut S {
        &mut self.shared
    }
}

impl<S: SharedData> CounterStore for SharedDataStore<S> {
    type Version = SharedVersion;

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, SharedVersion), StoreError> {
        if self.kind != SharedDataKind::CompareAndSwap {
            return Err(StoreError::Unavailable(UnavailableError::NoSharedData));
        }
        let SharedValue { bytes, version } = self.shared.get(name.as_str()).map_err(host)?;
        if owner(&bytes).is_some_and(|owner| owner != name.fingerprint()) {
            return Err(StoreError::Unavailable(UnavailableError::Foreign));
        }
        Ok((bytes, SharedVersion(version)))
    }

    fn compare_and_swap(
        &mut self,
        name: &RecordKey,
        at: SharedVersion,
        bytes: &[u8],
    ) -> Result<Cas, StoreError> {
        let swapped = self.shared.set(name.as_str(), bytes, at.0.unwrap_or(CREATE));
        if swapped == Ok(Cas::Conflict) {
            self.conflicts = self.conflicts.saturating_add(1);
        }
        swapped.map_err(host)
    }
}

fn host(status: HostStatus) -> StoreError {
    StoreError::Unavailable(UnavailableError::Host(status))
}
