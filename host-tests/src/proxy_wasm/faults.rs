//! Faults that tests inject into host calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{HostCall, Status};

/// The effect of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The call does nothing and returns this status.
    Answer(Status),
    /// The module traps in the call and its VM is dead.
    Trap,
    /// A conflict: another writer stores the same value again just before this call, so that a
    /// compare-and-swap fails as it does in production. Does nothing for a missing key, since on Envoy a
    /// creation never conflicts (`Answer(CasMismatch)` would emulate no real host). For `SetSharedData` only.
    LoseSwap,
}

/// The calls that a fault applies to, counted from the injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The next n calls.
    Next(u64),
    /// The n-th call, the 2n-th and so on.
    Every(u64),
    /// Only the n-th call, from 1.
    Nth(u64),
    /// Every call until [`Faults::clear`].
    Always,
}

/// The faults of a process, shared by its VMs. A clone is another handle.
///
/// ```
/// use tollgate_host::proxy_wasm::{Effect, Faults, HostCall, When};
/// let faults = Faults::default();
/// // Two conflicts, then a dead VM at the hundredth host call of any kind.
/// faults.inject(Some(HostCall::SetSharedData), When::Next(2), Effect::LoseSwap);
/// faults.inject(None, When::Nth(100), Effect::Trap);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Avoids the lock while there are no faults.
    armed: AtomicBool,
    hits: AtomicU64,
    list: Mutex<Vec<Fault>>,
}

#[derive(Debug)]
struct Fault {
    call: Option<HostCall>,
    when: When,
    effect: Effect,
    seen: u64,
}

impl Faults {
    /// Adds a fault for one kind of call, or for all (`None`). The first one that applies is used; each
    /// counts its own calls.
    pub fn inject(&self, call: Option<HostCall>, when: When, effect: Effect) {
        self.list().push(Fault { call, when, effect, seen: 0 });
        self.inner.armed.store(true, Ordering::Relaxed);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.list().clear();
        self.inner.armed.store(false, Ordering::Relaxed);
    }

    /// Returns the number of faults that were applied.
    pub fn hits(&self) -> u64 {
        self.inner.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self, call: HostCall) -> Option<Effect> {
        if !self.inner.armed.load(Ordering::Relaxed) {
            return None;
        }
        let mut effect = None;
        for fault in self.list().iter_mut().filter(|fault| fault.call.is_none_or(|only| only == call)) {
            fault.seen += 1;
            let applies = match fault.when {
                When::Next(count) => fault.seen <= count,
                When::Every(step) => step > 0 && fault.seen.is_multiple_of(step),
                When::Nth(number) => fault.seen == number,
                When::Always => true,
            };
            if applies && effect.is_none() {
                effect = Some(fault.effect);
            }
        }
        if effect.is_some() {
            self.inner.hits.fetch_add(1, Ordering::Relaxed);
        }
        effect
    }

    fn list(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.inner.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
