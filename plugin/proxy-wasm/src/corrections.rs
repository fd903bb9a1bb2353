//! Corrections of counters that are still to be made: all of a VM's, whatever configuration they came to be under.
//!
//! A root context goes when another configuration has taken over, and with it everything of its own.

use std::cell::Cell;

use tollgate_core::admission::{Correction, retry};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};

use crate::host::Shared;

/// Each says which cell it is of; with it goes the kind of shared data that the cell was found in.
#[derive(Default)]
pub struct Corrections(Cell<Vec<(SharedDataKind, Correction)>>);

impl Corrections {
    /// Keeps these until the next tick of any root context.
    pub fn keep(&self, kind: SharedDataKind, corrections: Vec<Correction>) {
        let mut kept = self.0.take();
        kept.extend(corrections.into_iter().map(|one| (kind, one)));
        self.0.set(kept);
    }

    /// Tries all of them again; what loses once more stays. Answers with the number of lost swaps.
    pub fn retry(&self) -> u32 {
        let mut lost: u32 = 0;
        let kept = self.0.take().into_iter().filter_map(|(kind, one)| {
            let mut cells = SharedDataStore::new(Shared, kind);
            let left = retry(&mut cells, one);
            lost = lost.saturating_add(cells.conflicts());
            left.map(|one| (kind, one))
        });
        self.0.set(kept.collect());
        lost
    }
}
