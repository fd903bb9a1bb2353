//! The current policy of a gateway, shared by the requests in flight.

use alloc::rc::Rc;
use core::cell::RefCell;

use crate::policy::index::Policy;

/// A policy that is read and changed through a shared reference.
///
/// Readers hold a snapshot. A change is made in place, and only while no snapshot is alive: callbacks run one after
/// another, and none of them keeps its snapshot. No method panics: the `RefCell` is never borrowed while other code
/// runs.
#[derive(Debug, Default)]
pub struct PolicyHandle(RefCell<Rc<Policy>>);

impl PolicyHandle {
    /// Returns a handle of a policy.
    pub fn new(policy: Policy) -> Self {
        PolicyHandle(RefCell::new(Rc::new(policy)))
    }

    /// Returns a snapshot of the policy.
    pub fn read(&self) -> Rc<Policy> {
        Rc::clone(&self.0.borrow())
    }

    /// Changes the policy. Returns `None` without a change while a snapshot is alive. A read from within `change`
    /// returns an empty policy.
    pub fn change<R>(&self, change: impl FnOnce(&mut Policy) -> R) -> Option<R> {
        let mut policy = self.0.take();
        let outcome = Rc::get_mut(&mut policy).map(change);
        self.0.replace(policy);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_with_a_live_snapshot_is_not_changed() {
        let mut loader = crate::policy::PolicyLoader::default();
        loader.push(br#"{"version": 1, "targets": {"small": {}}}"#);
        let handle = PolicyHandle::new(loader.finish().unwrap().0);
        let snapshot = handle.read();
        assert_eq!(handle.change(|_| ()), None);
        drop(snapshot);
        let during_change = handle
            .change(|policy| (policy.target("small").is_some(), handle.read().target("small").is_some()));
        assert_eq!(during_change, Some((true, false)));
        assert!(handle.read().target("small").is_some());
    }
}
