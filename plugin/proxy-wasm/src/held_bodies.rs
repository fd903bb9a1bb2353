//! The bytes of request bodies that the streams of this VM hold.
//!
//! The account belongs to the VM, since streams outlive the configuration that they began with.

use std::cell::RefCell;

use tollgate_core::counters::{BodyClaim, NoRoom, RecordKey, SharedDataKind, SharedDataStore};

use crate::host::{self, Shared};

/// One account for each record of held bytes: configurations with different prefixes have their own.
#[derive(Default)]
pub struct HeldBodies(RefCell<Vec<(RecordKey, BodyClaim)>>);

/// The bound that a configuration sets, and its record.
#[derive(Clone, Copy)]
pub struct Bound<'a> {
    /// The kind of the host's shared data.
    pub kind: SharedDataKind,
    /// The name of the record.
    pub name: &'a RecordKey,
    /// The most bytes over all VMs.
    pub max: u64,
}

impl HeldBodies {
    /// Adds bytes that a stream holds from now on; an error if there is no room for them.
    pub fn add(&self, bound: Bound<'_>, bytes: u64, wall: u64) -> Result<(), NoRoom> {
        self.with(bound, |account, store| account.add(store, bound.name, bytes, bound.max, wall))
            .unwrap_or(Err(NoRoom))
    }

    /// Removes bytes that a stream no longer holds.
    pub fn remove(&self, bound: Bound<'_>, bytes: u64) {
        self.with(bound, |account, _| account.remove(bytes));
    }

    /// Renews the claim of this VM.
    pub fn tick(&self, bound: Bound<'_>) {
        self.with(bound, |account, store| account.tick(store, bound.name, bound.max, host::wall()));
    }

    fn with<R>(
        &self,
        bound: Bound<'_>,
        change: impl FnOnce(&mut BodyClaim, &mut SharedDataStore<Shared>) -> R,
    ) -> Option<R> {
        let mut accounts = self.0.try_borrow_mut().ok()?;
        if !accounts.iter().any(|(name, _)| name == bound.name) {
            // Without random numbers all VMs share one claim, which is tighter.
            let vm = host::random().map_or(0, u64::from_le_bytes);
            accounts.push((bound.name.clone(), BodyClaim::new(vm)));
        }
        let (_, account) = accounts.iter_mut().find(|(name, _)| name == bound.name)?;
        Some(change(account, &mut SharedDataStore::new(Shared, bound.kind)))
    }
}
