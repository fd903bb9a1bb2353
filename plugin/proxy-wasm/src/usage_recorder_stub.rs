//! The recorder of a build without management API, which alone shows usage.

use tollgate_core::counters::SharedDataKind;
use tollgate_core::ledger::{EndedCall, LedgerNames};

/// A recorder that counts nothing.
#[derive(Default)]
pub struct UsageRecorder;

impl UsageRecorder {
    /// Does nothing.
    pub fn count(&self, _: SharedDataKind, _: &LedgerNames, _: EndedCall) -> Result<u32, u32> {
        Ok(0)
    }

    /// Does nothing: no call waits.
    pub fn retry(&self) -> u32 {
        0
    }
}
