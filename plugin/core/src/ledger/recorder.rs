//! Counting calls.

use alloc::collections::{BTreeSet, VecDeque};

use super::inbox::Inbox;
use super::posting::{list, post};
use super::rows::Label;
use super::{EndedCall, HOUR, LedgerNames};
use crate::counters::{CounterStore, StoreError, Update};

/// The number of rows from which the VM that counts a call posts the team's inbox itself, without waiting for a tick: a
/// bound on the bytes that each call reads and writes.
pub const CROWDED: usize = 64;

/// The maximum number of calls whose counting had too many conflicts and is retried.
const MAX_WAITING: usize = 10_000;

/// The part of one VM in counting.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The fingerprints of the inboxes that are listed.
    listed: BTreeSet<u64>,
    /// Calls whose counting had too many conflicts, each with the prefix of its names.
    waiting: VecDeque<(LedgerNames, EndedCall)>,
}

impl Recorder {
    /// Counts a call: one compare-and-swap, and a second one for the first call of a team in this VM. Returns false if the
    /// call is not counted, and will not be.
    pub fn count<C: CounterStore>(&mut self, store: &mut C, names: &LedgerNames, call: EndedCall) -> bool {
        match self.try_count(store, names, &call) {
            Ok(()) => true,
            Err(StoreError::Contention) if self.waiting.len() < MAX_WAITING => {
                self.waiting.push_back((names.clone(), call));
                true
            }
            Err(StoreError::Contention | StoreError::Unavailable(_)) => false,
        }
    }

    /// Counts the calls that had too many conflicts.
    pub fn retry<C: CounterStore>(&mut self, store: &mut C) {
        for _ in 0..self.waiting.len() {
            let Some((names, call)) = self.waiting.pop_front() else { return };
            self.count(store, &names, call);
        }
    }

    fn try_count<C: CounterStore>(
        &mut self,
        store: &mut C,
        names: &LedgerNames,
        call: &EndedCall,
    ) -> Result<(), StoreError> {
        let EndedCall { team, key, user, target, wall, amounts } = call;
        let name = names.inbox(team);
        // Before the call is counted: a trap in between leaves no inbox that no tick finds.
        if !self.listed.contains(&name.fingerprint()) {
            list(store, names, team)?;
            self.listed.insert(name.fingerprint());
        }
        let label = Label { period: wall / HOUR, key, user, target: target.as_deref().unwrap_or_default() };
        let crowded = store.update_bytes::<_, StoreError>(&name, |_, bytes| {
            let mut inbox = Inbox::read(bytes)?;
            inbox.open.add(label, amounts);
            *bytes = inbox.to_bytes(name.fingerprint());
            Ok(Update::Write(inbox.open.exceeds(CROWDED)))
        })?;
        if crowded {
            // The call is counted; a posting that fails is repeated by the next call or tick.
            let _ = post(store, names, team, *wall);
        }
        Ok(())
    }
}

/// Records the first moment that is counted, unless an earlier configuration of the process has.
///
/// # Errors
/// Those of the store.
pub fn begin<C: CounterStore>(store: &mut C, names: &LedgerNames, wall: u64) -> Result<(), StoreError> {
    store.update_bytes(&names.since, |_, bytes| {
        Ok(if bytes.is_empty() {
            *bytes = wall.to_le_bytes().to_vec();
            Update::Write(())
        } else {
            Update::Keep(())
        })
    })
}
