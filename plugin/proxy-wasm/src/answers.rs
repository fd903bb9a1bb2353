//! Answers of the management API for streams that wait: all of a VM's, whatever configuration decided them.

use std::cell::Cell;

use tollgate_core::replication::AdminReply;

/// Each says which context it is for.
#[derive(Default)]
pub struct Answers {
    kept: Cell<Vec<(u32, AdminReply)>>,
    any: Cell<bool>,
}

impl Answers {
    /// Keeps this one until the callback that it came in ends.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "nobody waits"))]
    pub fn keep(&self, context: u32, answered: AdminReply) {
        let mut kept = self.kept.take();
        kept.push((context, answered));
        self.kept.set(kept);
        self.any.set(true);
    }

    /// Whether there are any: after nearly every callback there are none.
    pub fn any(&self) -> bool {
        self.any.get()
    }

    /// Those that are there.
    pub fn take(&self) -> Vec<(u32, AdminReply)> {
        self.any.set(false);
        self.kept.take()
    }
}
