//! Responses of the management API to streams that wait for them, of all configurations of a VM.

use std::cell::Cell;

use tollgate_core::replication::AdminReply;

/// Responses that are ready to be sent, each with the id of the context that waits for it.
#[derive(Default)]
pub struct PendingResponses {
    ready: Cell<Vec<(u32, AdminReply)>>,
    any: Cell<bool>,
}

impl PendingResponses {
    /// Adds a response, which is sent at the end of the present callback.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "there are no management requests"))]
    pub fn push(&self, context: u32, response: AdminReply) {
        let mut ready = self.ready.take();
        ready.push((context, response));
        self.ready.set(ready);
        self.any.set(true);
    }

    /// Returns true if no response is ready, as after nearly every callback.
    pub fn is_empty(&self) -> bool {
        !self.any.get()
    }

    /// Takes the responses out.
    pub fn take(&self) -> Vec<(u32, AdminReply)> {
        self.any.set(false);
        self.ready.take()
    }
}
