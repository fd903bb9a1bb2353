//! The policy of a gateway, which changes while requests are in flight.

use alloc::rc::Rc;
use core::cell::RefCell;

use crate::policy::index::Policy;

/// A policy that is read and changed through a shared gateway.
///
/// Nothing here panics: a borrow of the cell is over before any other code runs. Who reads holds the policy as it
/// was then; a change is made in place while nobody does. That is the rule, since callbacks come one after another
/// and none keeps what it read.
#[derive(Debug, Default)]
pub struct PolicyHandle(RefCell<Rc<Policy>>);

impl PolicyHandle {
    /// Begins with this one.
    pub fn new(policy: Policy) -> Self {
        PolicyHandle(RefCell::new(Rc::new(policy)))
    }

    /// The policy as it is now.
    pub fn read(&self) -> Rc<Policy> {
        Rc::clone(&self.0.borrow())
    }

    /// Changes it; `None`, and nothing is changed, while somebody holds what was read. What reads it meanwhile, from
    /// within `change`, finds an empty policy.
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
    fn what_is_held_is_not_changed() {
        let mut loader = crate::policy::PolicyLoader::default();
        loader.push(br#"{"version": 1, "targets": {"small": {}}}"#);
        let live = PolicyHandle::new(loader.finish().unwrap().0);
        let held = live.read();
        assert_eq!(live.change(|_| ()), None);
        drop(held);
        let meanwhile =
            live.change(|policy| (policy.target("small").is_some(), live.read().target("small").is_some()));
        assert_eq!(meanwhile, Some((true, false)));
        assert!(live.read().target("small").is_some());
    }
}
