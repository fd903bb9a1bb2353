//! Results for streams that wait for them, of all configurations of a VM.

use std::cell::Cell;

use tollgate_core::admission::{Admitted, NotAdmitted};
use tollgate_core::replication::AdminReply;

/// A result that a stream has waited for.
#[derive(Debug)]
pub enum Awaited {
    /// The response of the management API.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "there are no management requests"))]
    Managed(AdminReply),
    /// The decision of an admission.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "every admission is decided at once"))]
    Admission(Result<Admitted, NotAdmitted>),
}

/// Results that are ready to be delivered, each with the id of the context that waits for it.
#[derive(Default)]
pub struct PendingResponses {
    ready: Cell<Vec<(u32, Awaited)>>,
    any: Cell<bool>,
}

impl PendingResponses {
    /// Adds a result, which is delivered at the end of the present callback.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "no stream waits"))]
    pub fn push(&self, context: u32, awaited: Awaited) {
        let mut ready = self.ready.take();
        ready.push((context, awaited));
        self.ready.set(ready);
        self.any.set(true);
    }

    /// Returns true if no result is ready, as after nearly every callback.
    pub fn is_empty(&self) -> bool {
        !self.any.get()
    }

    /// Takes the results out.
    pub fn take(&self) -> Vec<(u32, Awaited)> {
        self.any.set(false);
        self.ready.take()
    }
}
