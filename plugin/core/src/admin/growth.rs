//! A bound on the records that are created in an organization during the life of a process.
//!
//! Hosts have no call that removes a name from shared data, so the counters of removed keys, members and teams stay until
//! the process ends; so do the ends of secrets that rotations replaced, without etcd. Without this bound, creating, rotating
//! and revoking keys for ever would exhaust its memory.

use alloc::format;
use alloc::string::String;

use serde_json::Value;

use super::problem::Problem;
use super::{Durability, RequestInputs};
use crate::counters::{CounterStore, RecordKey, StoreError, Update};
use crate::policy::{Change, Edit, Policy};

/// The most records that are created in one organization, or on the platform outside of organizations.
pub(super) const MAX_CREATED: u64 = 100_000;

/// The records and secrets that a write creates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// The log of the organization; `None` for the platform.
    log: Option<String>,
    number: u64,
}

impl Growth {
    /// Returns the growth of a change that was decided on this policy.
    ///
    /// # Errors
    /// 503 beyond [`MAX_CREATED`], or if it cannot be read.
    pub(super) fn of<C: CounterStore>(
        store: &mut C,
        prefix: &str,
        (policy, change): (&Policy, &Change),
        log: Option<String>,
        inputs: &RequestInputs,
    ) -> Result<Growth, Problem> {
        let digest = |record: &Value| record.get("digest").cloned();
        let keeps_ends = inputs.durability != Durability::Durable;
        let is_new = |edit: &&Edit| match (&edit.record, policy.record(edit.section, &edit.id)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(record), Some(current)) => keeps_ends && digest(record) != digest(&current),
        };
        let growth = Growth { log, number: change.edits.iter().filter(is_new).count() as u64 };
        if growth.number == 0 {
            return Ok(growth);
        }
        match store.read(&growth.name(prefix)) {
            Ok((bytes, _)) if growth.after(&bytes) > MAX_CREATED => {
                let detail = format!(
                    "{MAX_CREATED} records and secrets were created here since the gateway's process started. The counters of \
                     removed ones stay in its memory until it ends: restart the gateway."
                );
                Err(Problem::new(503, "too_many_created", detail))
            }
            // Without shared data there are neither counters nor changes.
            Ok(_) | Err(StoreError::Unavailable(_)) => Ok(growth),
            Err(StoreError::Contention) => Err(Problem::contended()),
        }
    }

    /// Counts the growth once its write is stored. Writes that are decided at the same time can exceed the bound, by one
    /// for each worker.
    pub(super) fn count<C: CounterStore>(&self, store: &mut C, prefix: &str) {
        if self.number == 0 {
            return;
        }
        // A write is not undone because it cannot be counted.
        let _ = store.update_bytes::<_, StoreError>(&self.name(prefix), |_, bytes| {
            *bytes = self.after(bytes).to_le_bytes().to_vec();
            Ok(Update::Write(()))
        });
    }

    fn after(&self, bytes: &[u8]) -> u64 {
        bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)).saturating_add(self.number)
    }

    fn name(&self, prefix: &str) -> RecordKey {
        // No id begins with an underscore.
        RecordKey::new(prefix, &["created", self.log.as_deref().unwrap_or("_")])
    }
}
