//! Corrections of counters whose compare-and-swap failed at each try, kept for the next tick, and the calls that are counted.
//!
//! The queue belongs to the VM: a root context ends when another configuration replaces it.

use std::cell::Cell;

use tollgate_core::admission::{Correction, retry};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};

use crate::host::Shared;
use crate::usage_recorder::UsageRecorder;

/// What the VM has still to write.
#[derive(Default)]
pub struct SettlementQueue {
    /// Corrections, each with the kind of shared data that its counter is in.
    corrections: Cell<Vec<(SharedDataKind, Correction)>>,
    /// Calls that have ended.
    pub usage: UsageRecorder,
}

impl SettlementQueue {
    /// Adds corrections, which are retried at the next tick of any root context.
    pub fn extend(&self, kind: SharedDataKind, corrections: Vec<Correction>) {
        let mut queue = self.corrections.take();
        queue.extend(corrections.into_iter().map(|correction| (kind, correction)));
        self.corrections.set(queue);
    }

    /// Retries all corrections and counts, and keeps those that fail again. Returns the number of conflicts.
    pub fn retry(&self) -> u32 {
        let mut conflicts = self.usage.retry();
        let left = self.corrections.take().into_iter().filter_map(|(kind, correction)| {
            let mut counters = SharedDataStore::new(Shared, kind);
            let left = retry(&mut counters, correction);
            conflicts = conflicts.saturating_add(counters.conflicts());
            left.map(|correction| (kind, correction))
        });
        self.corrections.set(left.collect());
        conflicts
    }
}
