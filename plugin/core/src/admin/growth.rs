//! A bound on the records that are created in an organization during the life of a process.
//!
//! Hosts have no call that removes a name from shared data, so the counters of removed keys, members and teams stay until
//! the process ends. Without this bound, creating and revoking keys for ever would exhaust its memory.

use alloc::format;

use super::Write;
use super::problem::Problem;
use crate::counters::{CounterStore, RecordKey, StoreError, Update};
use crate::policy::Policy;

/// The most records that are created in one organization, or on the platform outside of organizations.
pub(super) const MAX_CREATED: u64 = 100_000;

/// Counts the records that a change creates. A change that conflicts with another is counted at every attempt.
///
/// # Errors
/// 503 beyond [`MAX_CREATED`], or if they cannot be counted.
pub(super) fn count_created<C: CounterStore>(
    store: &mut C,
    prefix: &str,
    policy: &Policy,
    log: Option<&str>,
    write: &Write,
) -> Result<(), Problem> {
    let is_new = |section, id: &str| policy.record(section, id).is_none();
    let edits = write.change.edits.iter();
    let new = edits.filter(|edit| edit.record.is_some() && is_new(edit.section, &edit.id)).count() as u64;
    if new == 0 {
        return Ok(());
    }
    // No id begins with an underscore.
    let name = RecordKey::new(prefix, &["created", log.unwrap_or("_")]);
    let counted = store.update_bytes::<_, StoreError>(&name, |_, bytes| {
        let before = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let after = before.saturating_add(new);
        if after > MAX_CREATED {
            return Ok(Update::Keep(false));
        }
        *bytes = after.to_le_bytes().to_vec();
        Ok(Update::Write(true))
    });
    match counted {
        Ok(true) => Ok(()),
        Ok(false) => {
            let detail = format!(
                "{MAX_CREATED} records were created here since the gateway's process started. The counters of removed ones \
                 stay in its memory until it ends: restart the gateway."
            );
            Err(Problem::new(503, "too_many_created", detail))
        }
        Err(StoreError::Contention) => Err(Problem::contended()),
        // Without shared data there are neither counters nor changes.
        Err(StoreError::Unavailable(_)) => Ok(()),
    }
}
