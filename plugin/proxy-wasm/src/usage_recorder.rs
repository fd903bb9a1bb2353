//! The usage that the management API shows: calls that have ended, counted in shared data.
//!
//! The recorder belongs to the VM: a root context ends when another configuration replaces it.

use std::cell::{Cell, RefCell};

use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::ledger::{EndedCall, LedgerNames, Recorder};

use crate::host::Shared;

/// The calls of this VM.
pub struct UsageRecorder {
    recorder: RefCell<Recorder>,
    /// The kind of the host's shared data.
    kind: Cell<SharedDataKind>,
}

impl Default for UsageRecorder {
    fn default() -> Self {
        UsageRecorder { recorder: RefCell::default(), kind: Cell::new(SharedDataKind::None) }
    }
}

impl UsageRecorder {
    /// Counts a call, now or at a later tick. Returns the number of conflicts; an error if it is not counted.
    pub fn count(&self, kind: SharedDataKind, names: &LedgerNames, call: EndedCall) -> Result<u32, u32> {
        self.kind.set(kind);
        let mut counters = SharedDataStore::new(Shared, kind);
        let counted = self.recorder.borrow_mut().count(&mut counters, names, call);
        if counted { Ok(counters.conflicts()) } else { Err(counters.conflicts()) }
    }

    /// Counts the calls that had too many conflicts. Returns the number of conflicts.
    pub fn retry(&self) -> u32 {
        let mut counters = SharedDataStore::new(Shared, self.kind.get());
        self.recorder.borrow_mut().retry(&mut counters);
        counters.conflicts()
    }
}
