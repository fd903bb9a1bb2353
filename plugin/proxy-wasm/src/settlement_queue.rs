//! Corrections of counters whose compare-and-swap failed at each try, kept for the next tick, and the calls that are counted.
//!
//! The queue belongs to the VM: a root context ends when another configuration replaces it.

use std::cell::Cell;

use tollgate_core::admission::{Correction, retry};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};

use crate::host::Shared;
use crate::shared_counters::SharedCounters;
use crate::usage_recorder::UsageRecorder;

/// The kind of shared data that a counter is in, and true for a slice of a fleet's counter.
type Place = (SharedDataKind, bool);

/// The corrections and calls that the VM has still to write.
#[derive(Default)]
pub struct SettlementQueue {
    /// Corrections, each with the place of its counter.
    corrections: Cell<Vec<(Place, Correction)>>,
    /// Calls that have ended.
    pub usage: UsageRecorder,
}

impl SettlementQueue {
    /// Adds corrections, which are retried at the next tick of any root context.
    pub fn extend(&self, place: Place, corrections: Vec<Correction>) {
        let mut queue = self.corrections.take();
        queue.extend(corrections.into_iter().map(|correction| (place, correction)));
        self.corrections.set(queue);
    }

    /// Retries all corrections and counts, and keeps those that fail again. Returns the number of conflicts.
    pub fn retry(&self) -> u32 {
        let mut conflicts = self.usage.retry();
        let left = self.corrections.take().into_iter().filter_map(|(place, correction)| {
            let (kind, is_slice) = place;
            let mut counters = SharedDataStore::new(Shared, kind);
            let left = match is_slice {
                true => SharedCounters::retry(&mut counters, correction),
                false => retry(&mut counters, correction),
            };
            conflicts = conflicts.saturating_add(counters.conflicts());
            left.map(|correction| (place, correction))
        });
        self.corrections.set(left.collect());
        conflicts
    }
}
