//! Corrections of counters whose compare-and-swap failed at each try, kept for the next tick.
//!
//! The queue belongs to the VM: a root context ends when another configuration replaces it.

use std::cell::Cell;

use tollgate_core::admission::{Correction, retry};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};

use crate::host::Shared;
use crate::shared_counters::SharedCounters;

/// The kind of shared data that a counter is in, and true for a slice of a fleet's counter.
type Place = (SharedDataKind, bool);

/// Corrections that are still to be written, each with the place of its counter.
#[derive(Default)]
pub struct SettlementQueue(Cell<Vec<(Place, Correction)>>);

impl SettlementQueue {
    /// Adds corrections, which are retried at the next tick of any root context.
    pub fn extend(&self, place: Place, corrections: Vec<Correction>) {
        let mut queue = self.0.take();
        queue.extend(corrections.into_iter().map(|correction| (place, correction)));
        self.0.set(queue);
    }

    /// Retries all corrections and keeps those that fail again. Returns the number of conflicts.
    pub fn retry(&self) -> u32 {
        let mut conflicts: u32 = 0;
        let left = self.0.take().into_iter().filter_map(|(place, correction)| {
            let (kind, is_slice) = place;
            let mut counters = SharedDataStore::new(Shared, kind);
            let left = match is_slice {
                true => SharedCounters::retry(&mut counters, correction),
                false => retry(&mut counters, correction),
            };
            conflicts = conflicts.saturating_add(counters.conflicts());
            left.map(|correction| (place, correction))
        });
        self.0.set(left.collect());
        conflicts
    }
}
